/* A blocking call that a save interrupts neither returns EINTR nor returns early, and of a relative timeout what is left stays left.
 * The argument names the call; the harness waits until the process is in it. SECONDS is how long it blocks; the file "downtime" says how many
 * nanoseconds the harness kept the process from running. pause and sigsuspend end by SIGUSR1 from the harness. */
#include "victim.h"
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/time.h>

#define TIMEOUT 1000000000LL /* ns */

static long long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static volatile sig_atomic_t signals;
static void on_signal(int signal)
{
    (void)signal;
    signals++;
}

int main(int argc, char **argv)
{
    const char *call = argc > 1 ? argv[1] : "nanosleep";
    struct timespec timeout = { TIMEOUT / 1000000000, TIMEOUT % 1000000000 }, left = { -1, -1 };
    struct timeval interval = { TIMEOUT / 1000000000, TIMEOUT % 1000000000 / 1000 };
    long expected = 0;
    int expected_errno = 0;
    int pair[2];
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    struct pollfd poll = { .fd = pair[0], .events = POLLIN };
    fd_set set;
    FD_ZERO(&set);
    FD_SET(pair[0], &set);
    int instance = must(epoll_create1(0));
    struct epoll_event event = { .events = EPOLLIN };
    must(epoll_ctl(instance, EPOLL_CTL_ADD, pair[0], &event));
    int word = 7;
    sigset_t mask;
    sigemptyset(&mask);
    int endless = !strcmp(call, "pause") || !strcmp(call, "rt_sigsuspend");
    int semaphore = must(semget(IPC_PRIVATE, 1, 0600));
    struct sembuf take = { .sem_op = -1 };
    char byte;
    signal(SIGUSR1, on_signal);

    if (endless && argc < 2)
        pass();
    say_ready();
    long long start = now();
    errno = 0;
    if (!strcmp(call, "nanosleep")) {
        expected = syscall(SYS_nanosleep, &timeout, &left);
    } else if (!strcmp(call, "clock_nanosleep")) {
        expected = syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &timeout, &left);
    } else if (!strcmp(call, "clock_nanosleep_absolute")) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += TIMEOUT / 1000000000;
        expected = syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    } else if (!strcmp(call, "poll")) {
        expected = syscall(SYS_poll, &poll, 1, TIMEOUT / 1000000);
    } else if (!strcmp(call, "ppoll")) {
        expected = syscall(SYS_ppoll, &poll, 1, &timeout, &mask, 8);
    } else if (!strcmp(call, "select")) {
        expected = syscall(SYS_select, pair[0] + 1, &set, NULL, NULL, &interval);
    } else if (!strcmp(call, "pselect6")) {
        struct {
            sigset_t *mask;
            size_t size;
        } argument = { &mask, 8 };
        expected = syscall(SYS_pselect6, pair[0] + 1, &set, NULL, NULL, &timeout, &argument);
    } else if (!strcmp(call, "epoll_wait")) {
        expected = syscall(SYS_epoll_wait, instance, &event, 1, TIMEOUT / 1000000);
    } else if (!strcmp(call, "epoll_pwait")) {
        expected = syscall(SYS_epoll_pwait, instance, &event, 1, TIMEOUT / 1000000, &mask, 8);
    } else if (!strcmp(call, "epoll_pwait2")) {
        expected = syscall(SYS_epoll_pwait2, instance, &event, 1, &timeout, &mask, 8);
    } else if (!strcmp(call, "futex")) {
        expected = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 7, &timeout, NULL, 0);
        expected_errno = ETIMEDOUT;
    } else if (!strcmp(call, "futex_absolute")) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += TIMEOUT / 1000000000;
        expected = syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 7, &until, NULL, FUTEX_BITSET_MATCH_ANY);
        expected_errno = ETIMEDOUT;
    } else if (!strcmp(call, "rt_sigtimedwait")) {
        sigset_t wanted;
        sigemptyset(&wanted);
        sigaddset(&wanted, SIGRTMIN + 5);
        sigprocmask(SIG_BLOCK, &wanted, NULL);
        expected = syscall(SYS_rt_sigtimedwait, &wanted, NULL, &timeout, 8);
        expected_errno = EAGAIN;
    } else if (!strcmp(call, "semtimedop")) {
        expected = syscall(SYS_semtimedop, semaphore, &take, 1, &timeout);
        expected_errno = EAGAIN;
    } else if (!strcmp(call, "recvfrom")) {
        must(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &interval, sizeof interval));
        expected = syscall(SYS_recvfrom, pair[0], &byte, 1, 0, NULL, NULL);
        expected_errno = EAGAIN;
    } else if (!strcmp(call, "pause")) {
        expected = syscall(SYS_pause);
        expected_errno = EINTR;
    } else if (!strcmp(call, "rt_sigsuspend")) {
        expected = syscall(SYS_rt_sigsuspend, &mask, 8);
        expected_errno = EINTR;
    } else {
        fail("no call %s", call);
    }
    int error = errno;
    long long passed = now() - start, down = 0;
    char name[4200];
    snprintf(name, sizeof name, "%s/downtime", victim_dir);
    FILE *file = fopen(name, "r");
    if (file) {
        check(fscanf(file, "%lld", &down) == 1, "downtime");
        fclose(file);
    }
    must(semctl(semaphore, 0, IPC_RMID));
    check(expected == (expected_errno ? -1 : 0) && error == expected_errno, "%s returned %ld, errno %d (%s), after %lld ms", call,
          expected, error, strerror(error), passed / 1000000);
    if (endless) {
        check_equal(signals, 1);
    } else {
        check_equal(signals, 0);
        check(passed >= TIMEOUT, "%s came back %lld us early", call, (TIMEOUT - passed) / 1000);
        check(passed < TIMEOUT + down + 300000000, "%s came back %lld ms late, of which the process was down for %lld", call,
              (passed - TIMEOUT) / 1000000, down / 1000000);
    }
    check_equal(left.tv_sec, -1); /* only an interrupted sleep writes what is left */
    pass();
}
