/* A process without timers and without pending signals has none after a restart either, whatever the one that restarted it had set for itself. */
#include "victim.h"
#include <signal.h>
#include <sys/time.h>

int main(void)
{
    checkpoint_here();
    for (int which = ITIMER_REAL; which <= ITIMER_PROF; which++) {
        struct itimerval now;
        must(getitimer(which, &now));
        check(!timerisset(&now.it_value) && !timerisset(&now.it_interval), "timer %d is set", which);
    }
    check_equal(status_field("SigPnd", 16), 0);
    check_equal(status_field("ShdPnd", 16), 0);
    pass();
}
