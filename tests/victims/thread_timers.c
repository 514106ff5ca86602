/* Timers that start functions in threads (SIGEV_THREAD), and that signal one thread (SIGEV_THREAD_ID): old ones go on, and new ones can be made. */
#include "victim.h"
#include <pthread.h>
#include <signal.h>

#ifndef sigev_notify_thread_id /* glibc has no name for it before 2.39 */
#define sigev_notify_thread_id _sigev_un._tid
#endif
#define MILLISECOND 1000000

static volatile int calls[2], signals_to_worker, signals_to_others, stop;
static pthread_t worker;

static void call(union sigval value)
{
    __atomic_add_fetch((int *)value.sival_ptr, 1, __ATOMIC_SEQ_CST);
}

static void took(int sig)
{
    (void)sig;
    if (pthread_equal(pthread_self(), worker))
        signals_to_worker++;
    else
        signals_to_others++;
}

static void *work(void *tid)
{
    *(volatile pid_t *)tid = gettid();
    while (!stop) {
        struct timespec a_while = { 0, MILLISECOND };
        nanosleep(&a_while, NULL);
    }
    return NULL;
}

static timer_t start(struct sigevent *event)
{
    struct itimerspec every = { { 0, 2 * MILLISECOND }, { 0, MILLISECOND } };
    timer_t timer;
    must(timer_create(CLOCK_MONOTONIC, event, &timer));
    must(timer_settime(timer, 0, &every, NULL));
    return timer;
}

static timer_t start_calls(int which)
{
    struct sigevent event = { .sigev_notify = SIGEV_THREAD };
    event.sigev_value.sival_ptr = (void *)&calls[which];
    event.sigev_notify_function = call;
    return start(&event);
}

/* Waits until the number has grown by three. */
static void grows(volatile int *number)
{
    for (int before = *number; *number < before + 3; usleep(1000))
        ;
}

int main(void)
{
    volatile pid_t tid = 0;
    struct sigaction action = { .sa_handler = took };
    must(sigaction(SIGRTMIN + 5, &action, NULL));
    check_equal(pthread_create(&worker, NULL, work, (void *)&tid), 0);
    while (!tid)
        usleep(1000);
    struct sigevent to_worker = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 5 };
    to_worker.sigev_notify_thread_id = tid;
    timer_t signals = start(&to_worker);
    timer_t old = start_calls(0);
    grows(&calls[0]);
    checkpoint_here();
    grows(&calls[0]);
    grows(&signals_to_worker);
    timer_t new = start_calls(1);
    grows(&calls[1]);
    must(timer_delete(old));
    must(timer_delete(new));
    must(timer_delete(signals));
    check_equal(signals_to_others, 0);
    stop = 1;
    check_equal(pthread_join(worker, NULL), 0);
    pass();
}
