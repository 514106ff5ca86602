/* What waits for a time of a clock that counts from boot waits for what was left of it where the clock shows another time; by the world's clock, for the
 * time itself. All of it is measured by the world's clock, which no restart changes.
 *
 * The argument names what waits. The file "downtime" says how many nanoseconds the harness kept the process from running. */
#include "victim.h"
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <sys/timerfd.h>

#define TIMEOUT 1000000000LL /* ns */

static long long world(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static struct timespec later(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    t.tv_sec += TIMEOUT / 1000000000;
    return t;
}

static long long armed; /* when a timer's time began */

/* A descriptor or a signal that a timer makes ready. */
static long by_timerfd(clockid_t clock, int flags)
{
    struct itimerspec when = { .it_value = flags ? later(clock) : (struct timespec){ TIMEOUT / 1000000000, 0 } };
    int timer = must(timerfd_create(clock, 0));
    uint64_t ticks = 0;
    must(timerfd_settime(timer, flags, &when, NULL));
    armed = world();
    say_ready();
    must(read(timer, &ticks, sizeof ticks));
    return ticks == 1 ? 0 : -1;
}

static long by_timer(clockid_t clock, int flags)
{
    sigset_t set;
    timer_t timer;
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN };
    struct itimerspec when = { .it_value = flags ? later(clock) : (struct timespec){ TIMEOUT / 1000000000, 0 } };
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    must(sigprocmask(SIG_BLOCK, &set, NULL));
    must(timer_create(clock, &event, &timer));
    must(timer_settime(timer, flags, &when, NULL));
    armed = world();
    say_ready();
    return sigwaitinfo(&set, NULL) == SIGRTMIN ? 0 : -1;
}

int main(int argc, char **argv)
{
    const char *call = argc > 1 ? argv[1] : "sleep_monotonic";
    struct timespec until;
    int word = 7, kept_by_world = 0;
    long result;
#define IS(name) (!strcmp(call, name))
#define SLEEP(clock) \
    (until = later(clock), armed = world(), say_ready(), syscall(SYS_clock_nanosleep, clock, TIMER_ABSTIME, &until, NULL))
#define FUTEX(operation, clock) \
    (until = later(clock), armed = world(), say_ready(), \
     syscall(SYS_futex, &word, operation, 7, &until, NULL, FUTEX_BITSET_MATCH_ANY) == -1 && errno == ETIMEDOUT ? 0 : -1)
    if (IS("sleep_monotonic"))
        result = SLEEP(CLOCK_MONOTONIC);
    else if (IS("sleep_boottime"))
        result = SLEEP(CLOCK_BOOTTIME);
    else if (IS("sleep_realtime"))
        kept_by_world = 1, result = SLEEP(CLOCK_REALTIME);
    else if (IS("futex_monotonic"))
        result = FUTEX(FUTEX_WAIT_BITSET_PRIVATE, CLOCK_MONOTONIC);
    else if (IS("futex_realtime"))
        kept_by_world = 1, result = FUTEX(FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, CLOCK_REALTIME);
    else if (IS("timerfd_monotonic"))
        result = by_timerfd(CLOCK_MONOTONIC, TFD_TIMER_ABSTIME);
    else if (IS("timerfd_boottime"))
        result = by_timerfd(CLOCK_BOOTTIME, TFD_TIMER_ABSTIME);
    else if (IS("timerfd_realtime"))
        kept_by_world = 1, result = by_timerfd(CLOCK_REALTIME, TFD_TIMER_ABSTIME);
    else if (IS("timerfd_relative"))
        result = by_timerfd(CLOCK_MONOTONIC, 0);
    else if (IS("timer_monotonic"))
        result = by_timer(CLOCK_MONOTONIC, TIMER_ABSTIME);
    else if (IS("timer_boottime"))
        result = by_timer(CLOCK_BOOTTIME, TIMER_ABSTIME);
    else if (IS("timer_relative"))
        result = by_timer(CLOCK_MONOTONIC, 0);
    else
        fail("no call %s", call);
    int error = errno;
    long long passed = world() - armed, down = 0;
    wait_for_go(1);
    char name[4200];
    snprintf(name, sizeof name, "%s/downtime", victim_dir);
    FILE *file = fopen(name, "r");
    if (file) {
        check(fscanf(file, "%lld", &down) == 1, "downtime");
        fclose(file);
    }
    check(result == 0, "%s: %ld (%s) after %lld ms", call, result, strerror(error), passed / 1000000);
    /* The clocks are read one after the other. */
    check(passed >= TIMEOUT - 1000000, "%s came %lld us early", call, (TIMEOUT - passed) / 1000);
    check(passed < TIMEOUT + down + 300000000, "%s came %lld ms late, of which the process was down for %lld", call, (passed - TIMEOUT) / 1000000,
          down / 1000000);
    if (!kept_by_world)
        check(passed >= TIMEOUT + down - 300000000, "%s lost %lld ms of what was left", call, (TIMEOUT + down - passed) / 1000000);
    pass();
}
