/* A save finds the thread by which glibc carries out timers (SIGEV_THREAD) outside of glibc: in the program's own malloc. Timers can be made afterwards. */
#include "victim.h"
#include <pthread.h>
#include <signal.h>

extern void *__libc_malloc(size_t size);

static pthread_t first;
static volatile int started, hold, held, calls;

void *malloc(size_t size)
{
    if (started && !pthread_equal(pthread_self(), first))
        while (hold)
            held = 1;
    return __libc_malloc(size);
}

static void call(union sigval value)
{
    (void)value;
    __atomic_add_fetch((int *)&calls, 1, __ATOMIC_SEQ_CST);
}

static timer_t start(void)
{
    struct sigevent event = { .sigev_notify = SIGEV_THREAD, .sigev_notify_function = call };
    struct itimerspec every = { { 0, 2000000 }, { 0, 1000000 } };
    timer_t timer;
    must(timer_create(CLOCK_MONOTONIC, &event, &timer));
    must(timer_settime(timer, 0, &every, NULL));
    return timer;
}

int main(void)
{
    first = pthread_self();
    started = hold = 1;
    timer_t old = start();
    while (!held)
        usleep(1000);
    checkpoint_here();
    hold = 0;
    timer_t new = start();
    while (calls < 3)
        usleep(1000);
    must(timer_delete(old));
    must(timer_delete(new));
    pass();
}
