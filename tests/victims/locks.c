/* File locks: flock, record locks of the process, locks of the open file description; owner and signal of F_SETOWN. */
#include "victim.h"
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

int main(void)
{
    int whole = must(open("flocked", O_CREAT | O_RDWR, 0600));
    must(flock(whole, LOCK_EX));
    int shared = must(open("shared", O_CREAT | O_RDWR, 0600));
    must(flock(shared, LOCK_SH));
    int records = must(open("records", O_CREAT | O_RDWR, 0600));
    must(ftruncate(records, 1000));
    struct flock part = { .l_type = F_WRLCK, .l_start = 100, .l_len = 50 }, tail = { .l_type = F_RDLCK, .l_start = 500 };
    must(fcntl(records, F_SETLK, &part));
    must(fcntl(records, F_SETLK, &tail));
    int description = must(open("description", O_CREAT | O_RDWR, 0600));
    struct flock own = { .l_type = F_WRLCK, .l_start = 7, .l_len = 7 };
    must(fcntl(description, F_OFD_SETLK, &own));
    int pair[2];
    must(pipe(pair));
    must(fcntl(pair[0], F_SETOWN, getpid()));
    must(fcntl(pair[0], F_SETSIG, SIGRTMIN + 1));

    checkpoint_here();
    int other = must(open("flocked", O_RDWR));
    check(flock(other, LOCK_SH | LOCK_NB) == -1 && errno == EWOULDBLOCK, "the exclusive lock is gone");
    other = must(open("shared", O_RDWR));
    check_equal(flock(other, LOCK_SH | LOCK_NB), 0);
    check(flock(other, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK, "the shared lock is gone");
    other = must(open("description", O_RDWR));
    struct flock ask = { .l_type = F_WRLCK };
    must(fcntl(other, F_OFD_GETLK, &ask));
    check(ask.l_type == F_WRLCK && ask.l_start == 7 && ask.l_len == 7 && ask.l_pid == -1, "lock of the description: type %d at %ld",
          ask.l_type, ask.l_start);
    pid_t me = getpid(), child = must(fork());
    if (child == 0) {
        int fd = must(open("records", O_RDWR));
        struct flock ask = { .l_type = F_RDLCK, .l_len = 400 };
        must(fcntl(fd, F_GETLK, &ask));
        check(ask.l_type == F_WRLCK && ask.l_start == 100 && ask.l_len == 50 && ask.l_pid == me, "record lock: type %d at %ld of %d",
              ask.l_type, ask.l_start, ask.l_pid);
        ask = (struct flock){ .l_type = F_WRLCK, .l_start = 400 };
        must(fcntl(fd, F_GETLK, &ask));
        check(ask.l_type == F_RDLCK && ask.l_start == 500 && ask.l_len == 0 && ask.l_pid == me, "record lock: type %d at %ld", ask.l_type,
              ask.l_start);
        _exit(0);
    }
    int status;
    must(waitpid(child, &status, 0));
    check_equal(status, 0);
    check_equal(fcntl(pair[0], F_GETOWN), getpid());
    check_equal(fcntl(pair[0], F_GETSIG), SIGRTMIN + 1);
    pass();
}
