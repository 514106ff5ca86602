/* A process that waits for clocks that count from the start of the machine: it goes on with what was left, wherever it comes back. */
#include "victim.h"
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/timerfd.h>

/* What is left at the save, or a little less. */
#define LEFT_NS 300000000L

static volatile sig_atomic_t rung;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition;

static void ring(int sig)
{
    (void)sig;
    rung++;
}

static struct timespec later(clockid_t clock)
{
    struct timespec time;
    must(clock_gettime(clock, &time));
    time.tv_nsec += LEFT_NS;
    time.tv_sec += time.tv_nsec / 1000000000;
    time.tv_nsec %= 1000000000;
    return time;
}

static void *wait_for_condition(void *nothing)
{
    struct timespec until = later(CLOCK_MONOTONIC);
    int error = 0;
    pthread_mutex_lock(&mutex);
    while (error == 0)
        error = pthread_cond_timedwait(&condition, &mutex, &until);
    pthread_mutex_unlock(&mutex);
    check_equal(error, ETIMEDOUT);
    return nothing;
}

static void *sleep_until(void *nothing)
{
    struct timespec until = later(CLOCK_BOOTTIME);
    check_equal(clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &until, NULL), 0);
    return nothing;
}

int main(void)
{
    clockid_t clocks[] = { CLOCK_MONOTONIC, CLOCK_BOOTTIME };
    pthread_t threads[2];
    struct pollfd timers[4];
    struct timespec before[2], now;
    pthread_condattr_t attr;
    sigset_t set;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&condition, &attr);
    signal(SIGRTMIN, ring);
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    check_equal(pthread_create(&threads[0], NULL, wait_for_condition, NULL), 0);
    check_equal(pthread_create(&threads[1], NULL, sleep_until, NULL), 0);
    for (int n = 0; n < 4; n++) {
        clockid_t clock = clocks[n / 2];
        struct itimerspec time = { .it_value = n % 2 ? later(clock) : (struct timespec){ 0, LEFT_NS } };
        struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN };
        timer_t timer;
        must(timer_create(clock, &event, &timer));
        must(timer_settime(timer, n % 2 ? TIMER_ABSTIME : 0, &time, NULL));
        timers[n] = (struct pollfd){ .fd = must(timerfd_create(clock, 0)), .events = POLLIN };
        must(timerfd_settime(timers[n].fd, n % 2 ? TFD_TIMER_ABSTIME : 0, &time, NULL));
    }
    for (int n = 0; n < 2; n++)
        must(clock_gettime(clocks[n], &before[n]));
    checkpoint_here();
    for (int n = 0; n < 2; n++) {
        must(clock_gettime(clocks[n], &now));
        check(now.tv_sec >= before[n].tv_sec && now.tv_sec < before[n].tv_sec + 1000, "clock %d went from %ld to %ld", n,
              (long)before[n].tv_sec, (long)now.tv_sec);
        check_equal(pthread_join(threads[n], NULL), 0);
    }
    for (int n = 0; n < 4; n++) {
        uint64_t count;
        check_equal(read(timers[n].fd, &count, sizeof count), sizeof count);
    }
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    sigdelset(&set, SIGRTMIN);
    while (rung < 4)
        sigsuspend(&set);
    pass();
}
