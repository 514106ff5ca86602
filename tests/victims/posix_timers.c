/* Timers of timer_create: ids with gaps, clocks, signals, values, what is left, the interval; one that has expired and waits, blocked,
 * with an overrun. */
#include "victim.h"
#include <signal.h>

int main(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 1);
    sigaddset(&set, SIGRTMIN + 2);
    must(sigprocmask(SIG_BLOCK, &set, NULL));
    static const clockid_t clocks[] = { CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID };
    timer_t timers[6];
    for (int i = 0; i < 5; i++) {
        struct sigevent event = { .sigev_notify = i == 3 ? SIGEV_NONE : SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1 };
        event.sigev_value.sival_int = 100 + i;
        must(timer_create(clocks[i], &event, &timers[i]));
    }
    must(timer_delete(timers[1])); /* a gap */
    struct itimerspec far = { { 3, 5000 }, { 500, 0 } };
    must(timer_settime(timers[0], 0, &far, NULL));
    must(timer_settime(timers[3], 0, &far, NULL));
    must(timer_settime(timers[4], 0, &far, NULL));
    /* timers[2] stays disarmed */
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 2 };
    event.sigev_value.sival_int = 4711;
    must(timer_create(CLOCK_MONOTONIC, &event, &timers[5]));
    struct itimerspec often = { { 0, 1000000 }, { 0, 1000000 } };
    must(timer_settime(timers[5], 0, &often, NULL));
    struct timespec a_while = { 0, 20000000 };
    nanosleep(&a_while, NULL);

    checkpoint_here();
    struct itimerspec now;
    for (int i = 0; i < 5; i++) {
        if (i == 1) {
            check(timer_gettime(timers[1], &now) == -1 && errno == EINVAL, "a deleted timer is back");
            continue;
        }
        must(timer_gettime(timers[i], &now));
        if (i == 2) {
            check(now.it_value.tv_sec == 0 && now.it_value.tv_nsec == 0, "timer 2 is armed");
            continue;
        }
        check(now.it_interval.tv_sec == 3 && now.it_interval.tv_nsec == 5000, "timer %d: interval", i);
        check(now.it_value.tv_sec < 500 && now.it_value.tv_sec > 440, "timer %d: %ld s left", i, now.it_value.tv_sec);
    }
    /* The one with the overrun: its signal is still there, with value and id. */
    siginfo_t info;
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, SIGRTMIN + 2);
    struct timespec soon = { 5, 0 };
    check_equal(sigtimedwait(&only, &info, &soon), SIGRTMIN + 2);
    check_equal(info.si_code, SI_TIMER);
    check_equal(info.si_value.sival_int, 4711);
    check_equal(sigtimedwait(&only, &info, &soon), SIGRTMIN + 2);
    /* New values, and a signal from each. */
    struct itimerspec at_once = { { 0, 0 }, { 0, 1 } };
    must(timer_settime(timers[2], 0, &at_once, NULL));
    sigemptyset(&only);
    sigaddset(&only, SIGRTMIN + 1);
    check_equal(sigtimedwait(&only, &info, &soon), SIGRTMIN + 1);
    check_equal(info.si_value.sival_int, 102);
    timer_t another;
    must(timer_create(CLOCK_MONOTONIC, NULL, &another));
    for (int i = 0; i < 6; i++)
        check(another != timers[i] || i == 1, "a new timer has the id of timer %d", i);
    pass();
}
