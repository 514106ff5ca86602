/* Threads in blocking calls: none of them notices that all were saved. build: gcc -O2 -pthread */
#include "victim.h"
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>

/* Longer than the harness takes. */
#define SECONDS 3
#define KINDS 9

static int waits[KINDS];

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void *block(void *arg)
{
    int kind = (int)(intptr_t)arg;
    struct timespec rest = { SECONDS, 0 }, until;
    struct timeval interval = { SECONDS, 0 };
    struct epoll_event event;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 7);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    /* Where the clocks go on from the save, that of the world does not. */
    clockid_t clock = kind == 6 ? CLOCK_REALTIME : CLOCK_MONOTONIC;
    double start = now(clock);
    long result = 0;
    int expected_errno = 0;
    __atomic_store_n(&waits[kind], gettid(), __ATOMIC_RELEASE);
    switch (kind) {
    case 0:
        result = nanosleep(&rest, &rest);
        break;
    case 1:
        result = poll(NULL, 0, SECONDS * 1000);
        break;
    case 2:
        result = ppoll(NULL, 0, &rest, NULL);
        break;
    case 3:
        result = select(0, NULL, NULL, NULL, &interval);
        break;
    case 4:
        result = epoll_wait(epoll_create1(EPOLL_CLOEXEC), &event, 1, SECONDS * 1000);
        break;
    case 5:
        result = sigtimedwait(&set, NULL, &rest);
        expected_errno = EAGAIN;
        break;
    case 6: {
        sem_t sem;
        sem_init(&sem, 0, 0);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += SECONDS;
        result = sem_timedwait(&sem, &until);
        expected_errno = ETIMEDOUT;
        break;
    }
    case 7:
        result = usleep(SECONDS * 1000000);
        break;
    case 8: {
        struct timespec relative = { SECONDS, 0 };
        int word = 1;
        result = syscall(SYS_futex, &word, 128, 1, &relative, NULL, 0);
        expected_errno = ETIMEDOUT;
        break;
    }
    }
    check(result == (expected_errno ? -1 : 0) && (!result || errno == expected_errno), "call %d: %ld, errno %d", kind, result, errno);
    check(now(clock) - start >= SECONDS, "call %d came back %.3f s early", kind, SECONDS - (now(clock) - start));
    return NULL;
}

int main(void)
{
    pthread_t threads[KINDS];
    for (intptr_t kind = 0; kind < KINDS; kind++)
        check(!pthread_create(&threads[kind], NULL, block, (void *)kind), "pthread_create");
    /* Until all are asleep. */
    for (int kind = 0; kind < KINDS; kind++) {
        int tid;
        while (!(tid = __atomic_load_n(&waits[kind], __ATOMIC_ACQUIRE)) || thread_state(tid) != 'S')
            ;
    }
    checkpoint_here();
    for (int kind = 0; kind < KINDS; kind++)
        pthread_join(threads[kind], NULL);
    pass();
}
