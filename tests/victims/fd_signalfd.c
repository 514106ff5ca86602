/* signalfd: mask and flags, and that it takes what it took. */
#include "victim.h"
#include <signal.h>
#include <sys/signalfd.h>

int main(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN + 3);
    must(sigprocmask(SIG_BLOCK, &set, NULL));
    int fd = must(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));

    checkpoint_here();
    struct signalfd_siginfo info;
    check(read(fd, &info, sizeof info) == -1 && errno == EAGAIN, "a signal that nobody sent");
    check_equal(must(fcntl(fd, F_GETFD)), FD_CLOEXEC);
    union sigval value = { .sival_int = 42 };
    must(sigqueue(getpid(), SIGRTMIN + 3, value));
    must(kill(getpid(), SIGUSR1));
    check_equal(must(read(fd, &info, sizeof info)), sizeof info);
    check_equal(info.ssi_signo, SIGUSR1);
    check_equal(must(read(fd, &info, sizeof info)), sizeof info);
    check_equal(info.ssi_signo, SIGRTMIN + 3);
    check_equal(info.ssi_int, 42);
    pass();
}
