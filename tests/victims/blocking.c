/* A blocking call that a save interrupts neither returns EINTR nor returns early, and of a relative timeout what is left stays left.
 *
 * The argument names the call: as the function syscall() makes it, or with "libc_" before it as the libc makes it. The harness waits until the process is in
 * it. TIMEOUT is how long it blocks. The file "downtime" says how many nanoseconds the harness kept the process from running. Calls without a timeout end by
 * SIGTERM from the harness.
 *
 * Nobody can ask the kernel how long a call has been waiting. Those marked "once" below start over when they are interrupted for the first
 * time, and keep to that end from then on; those marked "always" start over each time. They may be late, but never early. */
#include "victim.h"
#include <linux/futex.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/time.h>

#define TIMEOUT 1000000000LL /* ns */

enum { EXACT, ONCE, ALWAYS, ENDLESS };
static const struct call {
    const char *name;
    int saved, restarted; /* how it keeps its time */
} calls[] = {
    { "nanosleep", EXACT, EXACT },
    { "nanosleep_in_place", EXACT, EXACT }, /* what is left goes over the request */
    { "nanosleep_alone", EXACT, ONCE },     /* nobody asks what is left */
    { "clock_nanosleep", EXACT, EXACT },
    { "clock_nanosleep_absolute", EXACT, EXACT },
    { "poll", EXACT, ONCE },
    { "ppoll", EXACT, EXACT },
    { "select", EXACT, EXACT },
    { "pselect6", EXACT, EXACT },
    { "epoll_wait", ONCE, ONCE },
    { "epoll_pwait", ONCE, ONCE },
    { "epoll_pwait2", ONCE, ONCE },
    { "futex", EXACT, ONCE },
    { "futex_absolute", EXACT, EXACT },
    { "rt_sigtimedwait", ONCE, ONCE },
    { "semtimedop", ONCE, ONCE },
    { "recvfrom", ALWAYS, ALWAYS },
    { "pause", ENDLESS, ENDLESS },
    { "rt_sigsuspend", ENDLESS, ENDLESS },
    { "poll_endless", ENDLESS, ENDLESS },
    { "epoll_wait_endless", ENDLESS, ENDLESS },
    { "msgrcv", ENDLESS, ENDLESS },
    { "semop", ENDLESS, ENDLESS },
    { "libc_nanosleep", EXACT, EXACT },
    { "libc_sleep", EXACT, EXACT },
    { "libc_usleep", EXACT, ONCE },
    { "libc_clock_nanosleep", EXACT, EXACT },
    { "libc_poll", EXACT, ONCE },
    { "libc_ppoll", EXACT, EXACT },
    { "libc_select", EXACT, EXACT },
    { "libc_pselect", EXACT, EXACT },
    { "libc_epoll_wait", ONCE, ONCE },
    { "libc_epoll_pwait", ONCE, ONCE },
    { "libc_sigtimedwait", ONCE, ONCE },
    { "libc_semtimedop", ONCE, ONCE },
    { "libc_sem_timedwait", EXACT, ONCE },
    { "libc_recv", ALWAYS, ALWAYS },
    { "libc_pause", ENDLESS, ENDLESS },
    { "libc_sigsuspend", ENDLESS, ENDLESS },
};

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

static int expected_errno;
static int descriptors[2], instance = -1, semaphore = -1, queue = -1;

static void need_pair(void)
{
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, descriptors));
}

static void need_epoll(void)
{
    struct epoll_event event = { .events = EPOLLIN };
    must(pipe(descriptors));
    instance = must(epoll_create1(0));
    must(epoll_ctl(instance, EPOLL_CTL_ADD, descriptors[0], &event));
}

static sigset_t blocked_signal(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 5);
    must(sigprocmask(SIG_BLOCK, &set, NULL));
    return set;
}

static long make(const char *call, struct timespec *left)
{
    struct timespec timeout = { TIMEOUT / 1000000000, TIMEOUT % 1000000000 }, until;
    struct timeval interval = { TIMEOUT / 1000000000, TIMEOUT % 1000000000 / 1000 };
    int ms = TIMEOUT / 1000000, word = 7;
    struct sembuf take = { .sem_op = -1 };
    struct epoll_event event;
    struct {
        long type;
        char text[8];
    } message;
    sigset_t none, set;
    sigemptyset(&none);
    sem_t sem;
    sem_init(&sem, 0, 0);
    char byte;
#define IS(name) (!strcmp(call, name))
    if (strstr(call, "epoll"))
        need_epoll();
    if (strstr(call, "recv") && !strstr(call, "msg")) {
        need_pair();
        must(setsockopt(descriptors[0], SOL_SOCKET, SO_RCVTIMEO, &interval, sizeof interval));
        expected_errno = EAGAIN;
    }
    if (strstr(call, "semop") || strstr(call, "semtimedop")) {
        semaphore = must(semget(IPC_PRIVATE, 1, 0600));
        expected_errno = EAGAIN;
    }
    if (IS("msgrcv"))
        queue = must(msgget(IPC_PRIVATE, 0600));
    if (strstr(call, "sigtimedwait")) {
        set = blocked_signal();
        expected_errno = EAGAIN;
    }
    if (strstr(call, "futex") || IS("libc_sem_timedwait"))
        expected_errno = ETIMEDOUT;
    say_ready();
    errno = 0;

    if (IS("nanosleep"))
        return syscall(SYS_nanosleep, &timeout, left);
    if (IS("nanosleep_in_place"))
        return syscall(SYS_nanosleep, &timeout, &timeout);
    if (IS("nanosleep_alone"))
        return syscall(SYS_nanosleep, &timeout, NULL);
    if (IS("clock_nanosleep"))
        return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &timeout, left);
    if (IS("clock_nanosleep_absolute")) {
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += TIMEOUT / 1000000000;
        return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    }
    if (IS("poll"))
        return syscall(SYS_poll, NULL, 0, ms);
    if (IS("ppoll"))
        return syscall(SYS_ppoll, NULL, 0, &timeout, &none, 8);
    if (IS("select"))
        return syscall(SYS_select, 0, NULL, NULL, NULL, &interval);
    if (IS("pselect6"))
        return syscall(SYS_pselect6, 0, NULL, NULL, NULL, &timeout, NULL);
    if (IS("epoll_wait"))
        return syscall(SYS_epoll_wait, instance, &event, 1, ms);
    if (IS("epoll_pwait"))
        return syscall(SYS_epoll_pwait, instance, &event, 1, ms, &none, 8);
    if (IS("epoll_pwait2"))
        return syscall(SYS_epoll_pwait2, instance, &event, 1, &timeout, &none, 8);
    if (IS("futex"))
        return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 7, &timeout, NULL, 0);
    if (IS("futex_absolute")) {
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += TIMEOUT / 1000000000;
        return syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 7, &until, NULL, FUTEX_BITSET_MATCH_ANY);
    }
    if (IS("rt_sigtimedwait"))
        return syscall(SYS_rt_sigtimedwait, &set, NULL, &timeout, 8);
    if (IS("semtimedop"))
        return syscall(SYS_semtimedop, semaphore, &take, 1, &timeout);
    if (IS("recvfrom"))
        return syscall(SYS_recvfrom, descriptors[0], &byte, 1, 0, NULL, NULL);
    if (IS("pause"))
        return syscall(SYS_pause);
    if (IS("rt_sigsuspend"))
        return syscall(SYS_rt_sigsuspend, &none, 8);
    if (IS("poll_endless"))
        return syscall(SYS_poll, NULL, 0, -1);
    if (IS("epoll_wait_endless"))
        return syscall(SYS_epoll_wait, instance, &event, 1, -1);
    if (IS("msgrcv"))
        return syscall(SYS_msgrcv, queue, &message, sizeof message.text, 0, 0);
    if (IS("semop"))
        return syscall(SYS_semop, semaphore, &take, 1);
    if (IS("libc_nanosleep"))
        return nanosleep(&timeout, left);
    if (IS("libc_sleep"))
        return sleep(TIMEOUT / 1000000000);
    if (IS("libc_usleep"))
        return usleep(TIMEOUT / 1000);
    if (IS("libc_clock_nanosleep"))
        return clock_nanosleep(CLOCK_REALTIME, 0, &timeout, left) ? -1 : 0;
    if (IS("libc_poll"))
        return poll(NULL, 0, ms);
    if (IS("libc_ppoll"))
        return ppoll(NULL, 0, &timeout, &none);
    if (IS("libc_select"))
        return select(0, NULL, NULL, NULL, &interval);
    if (IS("libc_pselect"))
        return pselect(0, NULL, NULL, NULL, &timeout, &none);
    if (IS("libc_epoll_wait"))
        return epoll_wait(instance, &event, 1, ms);
    if (IS("libc_epoll_pwait"))
        return epoll_pwait(instance, &event, 1, ms, &none);
    if (IS("libc_sigtimedwait"))
        return sigtimedwait(&set, NULL, &timeout);
    if (IS("libc_semtimedop"))
        return semtimedop(semaphore, &take, 1, &timeout);
    if (IS("libc_sem_timedwait")) {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += TIMEOUT / 1000000000;
        return sem_timedwait(&sem, &until);
    }
    if (IS("libc_recv"))
        return recv(descriptors[0], &byte, 1, 0);
    if (IS("libc_pause"))
        return pause();
    if (IS("libc_sigsuspend"))
        return sigsuspend(&none);
    fail("no call %s", call);
}

int main(int argc, char **argv)
{
    const struct call *call = calls;
    if (argc > 1)
        while (strcmp(call->name, argv[1]))
            if (++call == calls + sizeof calls / sizeof *calls)
                fail("no call %s", argv[1]);
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    must(sigaction(SIGTERM, &action, NULL));
    struct timespec left = { -1, -1 };
    unsigned before = restarts();
    long long start = now();
    long result = make(call->name, &left);
    int error = errno;
    long long passed = now() - start, down = 0;

    if (semaphore >= 0)
        must(semctl(semaphore, 0, IPC_RMID));
    if (queue >= 0)
        must(msgctl(queue, IPC_RMID, NULL));
    /* Not before the harness has saved as often as it will, and has written how long the process was down. */
    wait_for_go(1);
    char name[4200];
    snprintf(name, sizeof name, "%s/downtime", victim_dir);
    FILE *file = fopen(name, "r");
    if (file) {
        check(fscanf(file, "%lld", &down) == 1, "downtime");
        fclose(file);
    }
    int keeps = restarts() == before ? call->saved : call->restarted;
    if (keeps == ENDLESS)
        expected_errno = EINTR;
    check(result == (expected_errno ? -1 : 0) && (result == 0 || error == expected_errno), "%s returned %ld, errno %d (%s), after %lld ms",
          call->name, result, error, strerror(error), passed / 1000000);
    check_equal(signals, keeps == ENDLESS);
    if (keeps == ENDLESS)
        pass();
    long long longest = TIMEOUT + down + 300000000;
    if (keeps == ONCE)
        longest += TIMEOUT;
    else if (keeps == ALWAYS)
        longest += 3 * TIMEOUT; /* as often as the harness saves */
    check(passed >= TIMEOUT, "%s came back %lld us early", call->name, (TIMEOUT - passed) / 1000);
    check(passed < longest, "%s came back %lld ms late, of which the process was down for %lld", call->name, (passed - TIMEOUT) / 1000000,
          down / 1000000);
    pass();
}
