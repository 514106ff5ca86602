/* Descriptors of regular files and directories: offset, flags, close-on-exec, sharing by dup, numbers, directory position. */
#include "victim.h"
#include <dirent.h>
#include <sys/resource.h>

static void holds(int fd, off_t offset, int flags, int cloexec)
{
    check(lseek(fd, 0, SEEK_CUR) == offset, "descriptor %d is at %ld, not %ld", fd, lseek(fd, 0, SEEK_CUR), offset);
    int got = must(fcntl(fd, F_GETFL)) & (O_ACCMODE | O_APPEND | O_NONBLOCK | O_SYNC | O_DSYNC | O_DIRECTORY | O_NOATIME);
    check(got == flags, "descriptor %d has the flags %#o, not %#o", fd, got, flags);
    check_equal(must(fcntl(fd, F_GETFD)), cloexec);
}

int main(void)
{
    int reader = must(open("data", O_CREAT | O_RDWR | O_TRUNC, 0644));
    for (int i = 0; i < 1000; i++)
        check_equal(must(write(reader, "0123456789", 10)), 10);
    must(lseek(reader, 1234, SEEK_SET));
    int twin = must(dup(reader));
    int far = must(fcntl(reader, F_DUPFD_CLOEXEC, 700));
    int other = must(open("data", O_RDONLY | O_CLOEXEC));
    must(lseek(other, 77, SEEK_SET));
    int appender = must(open("log", O_CREAT | O_WRONLY | O_APPEND | O_NONBLOCK, 0600));
    check_equal(must(write(appender, "one\n", 4)), 4);
    int sync = must(open("log", O_WRONLY | O_DSYNC));
    int beyond = must(open("data", O_RDONLY));
    must(lseek(beyond, 1 << 20, SEEK_SET));
    must(mkdir("folder", 0755));
    for (int i = 0; i < 300; i++) {
        char name[64];
        snprintf(name, sizeof name, "folder/%03d", i);
        close(must(open(name, O_CREAT | O_WRONLY, 0644)));
    }
    int folder = must(open("folder", O_RDONLY | O_DIRECTORY));
    DIR *listing = opendir("folder");
    int seen = 0;
    for (; seen < 100; seen++)
        check(readdir(listing), "readdir");
    int unreadable = must(open("secret", O_CREAT | O_WRONLY, 0200));

    checkpoint_here();
    holds(reader, 1234, O_RDWR, 0);
    holds(twin, 1234, O_RDWR, 0);
    holds(far, 1234, O_RDWR, FD_CLOEXEC);
    check_equal(far, 700);
    holds(other, 77, O_RDONLY, FD_CLOEXEC);
    holds(appender, 4, O_WRONLY | O_APPEND | O_NONBLOCK, 0);
    holds(sync, 0, O_WRONLY | O_DSYNC, 0);
    holds(beyond, 1 << 20, O_RDONLY, 0);
    holds(unreadable, 0, O_WRONLY, 0);
    char byte;
    check_equal(must(read(reader, &byte, 1)), 1);
    check_equal(byte, '4');
    holds(twin, 1235, O_RDWR, 0);
    must(lseek(far, 3, SEEK_SET));
    holds(reader, 3, O_RDWR, 0);
    holds(other, 77, O_RDONLY, FD_CLOEXEC);
    check_equal(must(write(appender, "two\n", 4)), 4);
    char text[16] = "";
    int again = must(open("log", O_RDONLY));
    check_equal(must(read(again, text, sizeof text)), 8);
    check(!memcmp(text, "one\ntwo\n", 8), "log");
    check_equal(faccessat(folder, "007", F_OK, 0), 0);
    while (readdir(listing))
        seen++;
    check_equal(seen, 302); /* with . and .. */
    for (int fd = 3; fd < 800; fd++) {
        int ours = fd == reader || fd == twin || fd == far || fd == other || fd == appender || fd == sync || fd == beyond ||
                   fd == folder || fd == dirfd(listing) || fd == unreadable || fd == again;
        check((fcntl(fd, F_GETFD) != -1) == ours, "descriptor %d is %s", fd, ours ? "closed" : "open");
    }
    pass();
}
