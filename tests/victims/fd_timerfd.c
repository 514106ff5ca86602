/* timerfd: what remains, periods, expirations that nobody has read, times of day, stopped ones. */
#include "victim.h"
#include <poll.h>
#include <sys/timerfd.h>

#define FAST 16

static int timer(int clock, int flags, long sec, long nsec, long period)
{
    int fd = must(timerfd_create(clock, TFD_NONBLOCK));
    struct itimerspec spec = { .it_interval = { period, 0 }, .it_value = { sec, nsec } };
    must(timerfd_settime(fd, flags, &spec, NULL));
    return fd;
}

static void expires(int fd)
{
    struct pollfd entry = { .fd = fd, .events = POLLIN };
    check_equal(must(poll(&entry, 1, 10000)), 1);
}

static struct itimerspec rest(int fd)
{
    struct itimerspec spec;
    must(timerfd_gettime(fd, &spec));
    return spec;
}

static uint64_t count(int fd)
{
    uint64_t value = 0;
    check_equal(must(read(fd, &value, 8)), 8);
    return value;
}

int main(void)
{
    int relative = timer(CLOCK_MONOTONIC, 0, 5000, 0, 0);
    int fired = timer(CLOCK_MONOTONIC, 0, 0, 1, 0);
    int periodic = timer(CLOCK_BOOTTIME, 0, 0, 1, 3000);
    int stopped = must(timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC));
    struct timespec now;
    must(clock_gettime(CLOCK_REALTIME, &now));
    int of_day = timer(CLOCK_REALTIME, TFD_TIMER_ABSTIME, now.tv_sec + 7000, 0, 0);
    int ticking = timer(CLOCK_MONOTONIC, 0, 0, 1000000, 0);
    struct itimerspec fast = { .it_interval = { 0, 1000000 }, .it_value = { 0, 1000000 } };
    must(timerfd_settime(ticking, 0, &fast, NULL));
    /* Whoever asks for their time lets them go on, and they have rung before the next question. */
    int rapid[FAST];
    struct itimerspec often = { .it_interval = { 0, 10000 }, .it_value = { 0, 10000 } };
    for (int i = 0; i < FAST; i++) {
        rapid[i] = must(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
        must(timerfd_settime(rapid[i], 0, &often, NULL));
    }
    expires(fired);
    expires(periodic);

    checkpoint_here();
    for (int i = 0; i < FAST; i++)
        for (int times = 0; times < 3; times++) {
            expires(rapid[i]);
            check(count(rapid[i]) >= 1, "no tick of %d", i);
        }
    struct itimerspec left = rest(relative);
    check(left.it_value.tv_sec <= 5000 && left.it_value.tv_sec > 4900, "%ld s remain of 5000", left.it_value.tv_sec);
    check_equal(count(fired), 1);
    check_equal(rest(fired).it_value.tv_nsec, 0);
    uint64_t more;
    check(read(fired, &more, 8) == -1 && errno == EAGAIN, "fired twice");
    check_equal(count(periodic), 1);
    left = rest(periodic);
    check_equal(left.it_interval.tv_sec, 3000);
    check(left.it_value.tv_sec <= 3000 && left.it_value.tv_sec > 2900, "%ld s to the next period", left.it_value.tv_sec);
    check_equal(rest(stopped).it_value.tv_sec, 0);
    check_equal(must(fcntl(stopped, F_GETFD)), FD_CLOEXEC);
    must(clock_gettime(CLOCK_REALTIME, &now));
    left = rest(of_day);
    /* The time of day has stayed: it did not move by the time in between. */
    static long at;
    at = now.tv_sec + left.it_value.tv_sec;
    struct timespec started;
    must(clock_gettime(CLOCK_REALTIME, &started));
    check(left.it_value.tv_sec < 7000 && left.it_value.tv_sec > 6800, "%ld s to the time of day", left.it_value.tv_sec);
    (void)at;
    expires(ticking);
    check(count(ticking) >= 1, "no tick");
    expires(ticking);
    pass();
}
