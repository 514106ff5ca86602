/* Interval timers keep value and interval. */
#include "victim.h"
#include <signal.h>
#include <sys/time.h>

static volatile sig_atomic_t alarms;
static void on_alarm(int signal)
{
    (void)signal;
    alarms++;
}

int main(void)
{
    signal(SIGALRM, on_alarm);
    signal(SIGVTALRM, on_alarm);
    signal(SIGPROF, on_alarm);
    struct itimerval real = { { 40, 500000 }, { 100, 0 } }, virtual = { { 7, 0 }, { 50, 0 } }, prof = { { 0, 0 }, { 60, 250000 } };
    must(setitimer(ITIMER_REAL, &real, NULL));
    must(setitimer(ITIMER_VIRTUAL, &virtual, NULL));
    must(setitimer(ITIMER_PROF, &prof, NULL));
    checkpoint_here();
    struct itimerval now;
    must(getitimer(ITIMER_REAL, &now));
    check(now.it_interval.tv_sec == 40 && now.it_interval.tv_usec == 500000, "ITIMER_REAL: interval");
    check(now.it_value.tv_sec < 100 && now.it_value.tv_sec > 60, "ITIMER_REAL: %ld s left", now.it_value.tv_sec);
    must(getitimer(ITIMER_VIRTUAL, &now));
    check(now.it_interval.tv_sec == 7 && now.it_value.tv_sec <= 50 && now.it_value.tv_sec > 20, "ITIMER_VIRTUAL: %ld s left",
          now.it_value.tv_sec);
    must(getitimer(ITIMER_PROF, &now));
    check(now.it_interval.tv_sec == 0 && now.it_value.tv_sec <= 60 && now.it_value.tv_sec > 30, "ITIMER_PROF: %ld s left",
          now.it_value.tv_sec);
    check_equal(alarms, 0);
    /* They still go off. */
    struct itimerval soon = { { 0, 0 }, { 0, 1000 } };
    must(setitimer(ITIMER_REAL, &soon, NULL));
    while (!alarms)
        ;
    check_equal(alarm(1000), 0);
    pass();
}
