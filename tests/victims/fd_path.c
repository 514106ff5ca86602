/* Files and their names: O_PATH, renamed, deleted, without a name from the start, special names, /proc of this very process. */
#include "victim.h"

static ino_t inode(int fd)
{
    struct stat stat;
    must(fstat(fd, &stat));
    return stat.st_ino;
}

static void reads(int fd, const char *text)
{
    char got[64] = "";
    check_equal(must(pread(fd, got, sizeof got, 0)), strlen(text));
    check(!strcmp(got, text), "'%s', not '%s'", got, text);
}

static int with(const char *name, int flags, const char *text)
{
    int fd = must(open(name, O_CREAT | flags, 0644));
    must(write(fd, text, strlen(text)));
    return fd;
}

int main(void)
{
    int renamed = with("before", O_RDWR, "renamed");
    must(rename("before", "after"));
    int odd = with("odd\nname \\012 (deleted)", O_RDWR, "odd");
    int deleted = with("gone", O_RDWR | O_APPEND, "deleted file");
    int reader = must(open("gone", O_RDONLY));
    must(lseek(reader, 3, SEEK_SET));
    must(unlink("gone"));
    int replaced = with("replaced", O_RDWR, "the old one");
    must(close(with("new", O_RDWR, "the new one")));
    must(rename("new", "replaced"));
    int nameless = must(open(".", O_TMPFILE | O_RDWR, 0600));
    must(write(nameless, "nameless", 8));
    /* Opened while it was allowed. */
    int locked = with("read-only", O_RDWR, "mine");
    must(fchmod(locked, 0400));

    int path = must(open("after", O_PATH | O_CLOEXEC));
    must(symlink("after", "link"));
    int link = must(open("link", O_PATH | O_NOFOLLOW));
    must(mkdir("folder", 0755));
    must(close(with("folder/inside", O_WRONLY, "inside")));
    int folder = must(open("folder", O_PATH | O_DIRECTORY));

    int status = must(open("/proc/self/status", O_RDONLY));
    int descriptors = must(open("/proc/self/fd", O_RDONLY | O_DIRECTORY));
    int task = must(open("/proc/thread-self/comm", O_RDONLY));
    ino_t same = inode(renamed);

    checkpoint_here();
    check_equal(inode(renamed), same);
    reads(renamed, "renamed");
    reads(odd, "odd");
    reads(deleted, "deleted file");
    check_equal(lseek(reader, 0, SEEK_CUR), 3);
    must(write(deleted, " grows", 6));
    reads(reader, "deleted file grows");
    struct stat stat;
    must(fstat(deleted, &stat));
    check_equal(stat.st_nlink, 0);
    check(access("gone", F_OK) == -1, "a deleted file has its name again");
    reads(replaced, "the old one");
    check_equal(must(lseek(replaced, 0, SEEK_CUR)), 11);
    reads(nameless, "nameless");
    must(fstat(locked, &stat));
    check_equal(stat.st_mode & 07777, 0400);
    must(pwrite(locked, "MINE", 4, 0));
    reads(locked, "MINE");

    check_equal(must(fcntl(path, F_GETFL)) & (O_PATH | O_NOFOLLOW | O_DIRECTORY), O_PATH);
    check_equal(must(fcntl(path, F_GETFD)), FD_CLOEXEC);
    check_equal(inode(path), same);
    char target[64] = "";
    check_equal(must(readlinkat(link, "", target, sizeof target)), 5);
    check_equal(faccessat(folder, "inside", F_OK, 0), 0);

    char text[4096];
    int got = must(read(status, text, sizeof text - 1));
    text[got] = 0;
    int pid = -1;
    check(sscanf(strstr(text, "\nPid:"), "\nPid: %d", &pid) == 1 && pid == getpid(), "/proc/self/status is of process %d", pid);
    snprintf(text, sizeof text, "/proc/self/fd/%d", task);
    char own[64], link_to[64] = "";
    snprintf(own, sizeof own, "/proc/%d/task/%d/comm", getpid(), getpid());
    must(readlink(text, link_to, sizeof link_to));
    check(!strcmp(own, link_to), "%s, not %s", link_to, own);
    check_equal(faccessat(descriptors, "0", F_OK, 0), 0);
    pass();
}
