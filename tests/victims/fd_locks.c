/* Locks: of flock(2), of the process, of the open file description. A child, to whom none of them belongs, looks. */
#include "victim.h"
#include <sys/file.h>
#include <sys/wait.h>

static void lock(int fd, int command, int type, off_t start, off_t len)
{
    struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len };
    must(fcntl(fd, command, &lock));
}

/* What is in the way of an exclusive lock of one byte: 'r', 'w', or '-'. */
static int in_the_way(const char *name, off_t at, off_t *start, off_t *len, pid_t *pid)
{
    int fd = must(open(name, O_RDWR));
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1 };
    must(fcntl(fd, F_GETLK, &lock));
    must(close(fd));
    *start = lock.l_start, *len = lock.l_len, *pid = lock.l_pid;
    return lock.l_type == F_RDLCK ? 'r' : lock.l_type == F_WRLCK ? 'w' : '-';
}

int main(void)
{
    int shared = must(open("shared", O_CREAT | O_RDWR, 0644));
    must(flock(shared, LOCK_SH));
    int exclusive = must(open("exclusive", O_CREAT | O_RDWR, 0644));
    must(flock(exclusive, LOCK_EX));
    int records = must(open("records", O_CREAT | O_RDWR, 0644));
    lock(records, F_SETLK, F_WRLCK, 10, 5);
    lock(records, F_SETLK, F_RDLCK, 100, 0);
    int other = must(open("records", O_RDWR));
    lock(other, F_OFD_SETLK, F_RDLCK, 50, 10);
    int twin = must(dup(records));

    checkpoint_here();
    pid_t child = must(fork());
    if (child == 0) {
        pid_t parent = getppid(), pid;
        off_t start, len;
        int fd = must(open("shared", O_RDWR));
        check(flock(fd, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK, "shared lock is gone");
        must(flock(fd, LOCK_SH | LOCK_NB));
        fd = must(open("exclusive", O_RDWR));
        check(flock(fd, LOCK_SH | LOCK_NB) == -1 && errno == EWOULDBLOCK, "exclusive lock is gone");
        check_equal(in_the_way("records", 9, &start, &len, &pid), '-');
        check_equal(in_the_way("records", 12, &start, &len, &pid), 'w');
        check(start == 10 && len == 5 && pid == parent, "record lock %ld+%ld of %d", (long)start, (long)len, pid);
        check_equal(in_the_way("records", 15, &start, &len, &pid), '-');
        check_equal(in_the_way("records", 55, &start, &len, &pid), 'r');
        check(start == 50 && len == 10 && pid == -1, "lock of an open file %ld+%ld of %d", (long)start, (long)len, pid);
        check_equal(in_the_way("records", 5000, &start, &len, &pid), 'r');
        check(start == 100 && len == 0 && pid == parent, "record lock %ld+%ld of %d", (long)start, (long)len, pid);
        _exit(0);
    }
    int status;
    must(waitpid(child, &status, 0));
    check_equal(status, 0);
    /* They are still this process's own: it may change them. */
    lock(twin, F_SETLK, F_RDLCK, 10, 5);
    lock(records, F_SETLK, F_UNLCK, 0, 0);
    lock(other, F_OFD_SETLK, F_WRLCK, 50, 10);
    must(flock(exclusive, LOCK_UN));
    must(flock(shared, LOCK_EX | LOCK_NB));
    pass();
}
