/* A thread that waits in read(2) for a signalfd, one that polls another one, and one in sigwait(3). */
#include "victim.h"
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>

#define THREADS 3

static volatile pid_t waits[THREADS];

static int descriptor_for(int sig)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, sig);
    return must(signalfd(-1, &set, SFD_CLOEXEC));
}

static void *wait_for(void *number)
{
    int n = (int)(intptr_t)number, sig = SIGRTMIN + 3 + n;
    sigset_t set;
    int fd = descriptor_for(sig);
    waits[n] = gettid();
    if (n == 2) {
        sigemptyset(&set);
        sigaddset(&set, sig);
        int got;
        check_equal(sigwait(&set, &got), 0);
        check_equal(got, sig);
        return NULL;
    }
    if (n == 1) {
        struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
        check_equal(poll(&poll_fd, 1, -1), 1);
    }
    struct signalfd_siginfo info;
    check_equal(read(fd, &info, sizeof info), sizeof info);
    check_equal(info.ssi_signo, sig);
    check_equal(info.ssi_int, 40 + n);
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    sigset_t all;
    sigemptyset(&all);
    for (int n = 0; n < THREADS; n++)
        sigaddset(&all, SIGRTMIN + 3 + n);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    for (intptr_t n = 0; n < THREADS; n++)
        check_equal(pthread_create(&threads[n], NULL, wait_for, (void *)n), 0);
    for (int n = 0; n < THREADS; n++) {
        while (!waits[n] || thread_state(waits[n]) != 'S')
            usleep(1000);
    }
    checkpoint_here();
    for (int n = 0; n < THREADS; n++) {
        /* To one thread, and to the process. */
        union sigval value = { .sival_int = 40 + n };
        if (n == 1)
            must(sigqueue(getpid(), SIGRTMIN + 3 + n, value));
        else
            check_equal(pthread_sigqueue(threads[n], SIGRTMIN + 3 + n, value), 0);
        check_equal(pthread_join(threads[n], NULL), 0);
    }
    pass();
}
