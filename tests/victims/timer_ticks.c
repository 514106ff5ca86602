/* A timer that goes off every millisecond does so after a restart, without the program's help. */
#include "victim.h"
#include <signal.h>
#include <sys/time.h>

static volatile sig_atomic_t ticks;
static void on_alarm(int signal)
{
    (void)signal;
    ticks++;
}

int main(void)
{
    struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
    must(sigaction(SIGALRM, &action, NULL));
    struct itimerval every = { { 0, 1000 }, { 0, 1000 } };
    must(setitimer(ITIMER_REAL, &every, NULL));
    while (ticks < 5)
        ;
    checkpoint_here();
    int before = ticks;
    while (ticks < before + 20)
        ;
    pass();
}
