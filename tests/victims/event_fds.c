/* eventfd, timerfd, signalfd. */
#include "victim.h"
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

int main(void)
{
    int counter = must(eventfd(41, EFD_NONBLOCK));
    int semaphore = must(eventfd(3, EFD_SEMAPHORE | EFD_CLOEXEC));
    int far = must(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
    struct itimerspec in_a_while = { { 7, 500 }, { 500, 0 } };
    must(timerfd_settime(far, 0, &in_a_while, NULL));
    int absolute = must(timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC));
    struct itimerspec then = { { 0, 0 }, { time(NULL) + 500, 0 } };
    must(timerfd_settime(absolute, TFD_TIMER_ABSTIME, &then, NULL));
    int disarmed = must(timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK));
    int expired = must(timerfd_create(CLOCK_MONOTONIC, 0));
    struct itimerspec at_once = { { 1000, 0 }, { 0, 1 } };
    must(timerfd_settime(expired, 0, &at_once, NULL));
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN + 3);
    must(sigprocmask(SIG_BLOCK, &set, NULL));
    int signals = must(signalfd(-1, &set, SFD_NONBLOCK));
    must(sigqueue(getpid(), SIGRTMIN + 3, (union sigval){ .sival_int = 17 }));
    struct timespec a_little = { 0, 1000000 };
    nanosleep(&a_little, NULL);

    checkpoint_here();
    uint64_t value;
    check_equal(read(counter, &value, 8), 8);
    check_equal(value, 41);
    check_equal(read(counter, &value, 8), -1);
    check_equal(errno, EAGAIN);
    for (int i = 0; i < 3; i++) {
        check_equal(read(semaphore, &value, 8), 8);
        check_equal(value, 1);
    }
    check_equal(fcntl(semaphore, F_GETFD), FD_CLOEXEC);
    struct itimerspec now;
    must(timerfd_gettime(far, &now));
    check(now.it_interval.tv_sec == 7 && now.it_interval.tv_nsec == 500, "interval");
    check(now.it_value.tv_sec < 500 && now.it_value.tv_sec > 440, "%ld s left", now.it_value.tv_sec);
    must(timerfd_gettime(absolute, &now));
    check(now.it_value.tv_sec <= 500 && now.it_value.tv_sec > 380, "absolute: %ld s left", now.it_value.tv_sec);
    must(timerfd_gettime(disarmed, &now));
    check(now.it_value.tv_sec == 0 && now.it_value.tv_nsec == 0, "disarmed: %ld s left", now.it_value.tv_sec);
    check_equal(read(expired, &value, 8), 8);
    check_equal(value, 1);
    must(timerfd_gettime(expired, &now));
    check(now.it_value.tv_sec > 800 && now.it_interval.tv_sec == 1000, "expired: %ld s left", now.it_value.tv_sec);
    must(timerfd_settime(disarmed, 0, &at_once, NULL));
    struct signalfd_siginfo info;
    check_equal(read(signals, &info, sizeof info), sizeof info);
    check(info.ssi_signo == (unsigned)SIGRTMIN + 3 && info.ssi_int == 17, "signal %d with %d", info.ssi_signo, info.ssi_int);
    must(raise(SIGUSR1));
    check_equal(read(signals, &info, sizeof info), sizeof info);
    check_equal(info.ssi_signo, SIGUSR1);
    check_equal(read(signals, &info, sizeof info), -1);
    check_equal(errno, EAGAIN);
    pass();
}
