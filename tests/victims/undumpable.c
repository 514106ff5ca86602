/* A process that is not dumpable, whose files in /proc belong to root: with a timer and a pending signal, for which the helper looks there. */
#include "victim.h"
#include <signal.h>
#include <sys/prctl.h>

int main(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    must(sigprocmask(SIG_BLOCK, &set, NULL));
    must(raise(SIGTERM));
    struct sigevent none = { .sigev_notify = SIGEV_NONE };
    timer_t timer;
    must(timer_create(CLOCK_MONOTONIC, &none, &timer));
    must(prctl(PR_SET_DUMPABLE, 0));
    checkpoint_here();
    check_equal(prctl(PR_GET_DUMPABLE), 0);
    struct itimerspec now;
    must(timer_gettime(timer, &now));
    sigset_t pending;
    must(sigpending(&pending));
    check(sigismember(&pending, SIGTERM), "SIGTERM");
    pass();
}
