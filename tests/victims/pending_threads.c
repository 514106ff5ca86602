/* Pending signals of a process with threads: each thread's own, and those of the process. The main thread blocks SIGUSR2, so that another thread leads the save.
 * build: gcc -O2 -pthread */
#include "victim.h"
#include <pthread.h>
#include <signal.h>

#define THREADS 3

static pthread_barrier_t ready, go;

/* Takes one signal of the set without waiting: its number, with its value in *value. */
static int take(int signal, int *code, int *value)
{
    sigset_t set;
    siginfo_t info = { 0 };
    struct timespec none = { 0, 0 };
    sigemptyset(&set);
    sigaddset(&set, signal);
    int got = syscall(SYS_rt_sigtimedwait, &set, &info, &none, 8);
    *code = info.si_code;
    *value = info.si_value.sival_int;
    check(got == -1 || info.si_pid == getpid(), "signal %d: from process %d", got, info.si_pid);
    return got;
}

static void queue_to_me(int signal, int value)
{
    siginfo_t info = { 0 };
    info.si_code = SI_QUEUE;
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value.sival_int = value;
    check_equal(syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), signal, &info), 0);
}

/* Two of one number with their values, in order, and one from tgkill. */
static void fill(int id)
{
    queue_to_me(SIGRTMIN + 3, 10 * id + 1);
    queue_to_me(SIGRTMIN + 3, 10 * id + 2);
    check_equal(syscall(SYS_tgkill, getpid(), gettid(), SIGHUP), 0);
}

static void verify(int id)
{
    int code, value;
    for (int i = 1; i <= 2; i++) {
        check_equal(take(SIGRTMIN + 3, &code, &value), SIGRTMIN + 3);
        check_equal(code, SI_QUEUE);
        check_equal(value, 10 * id + i);
    }
    check_equal(take(SIGHUP, &code, &value), SIGHUP);
    check_equal(code, SI_TKILL);
    check_equal(take(SIGHUP, &code, &value), -1);
}

static void *run(void *arg)
{
    int id = (int)(intptr_t)arg;
    sigset_t usr2;
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    if (id == 1)
        pthread_sigmask(SIG_UNBLOCK, &usr2, NULL);
    fill(id);
    pthread_barrier_wait(&ready);
    if (id == 1)
        checkpoint_here();
    pthread_barrier_wait(&go);
    verify(id);
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS + 1];
    sigset_t all;
    sigfillset(&all);
    sigdelset(&all, SIGWINCH); /* a mask of everything is how the harness knows a restart that has not ended */
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    pthread_barrier_init(&ready, NULL, THREADS + 1);
    pthread_barrier_init(&go, NULL, THREADS + 1);
    fill(0);
    must(kill(getpid(), SIGTERM));
    must(sigqueue(getpid(), SIGRTMIN + 4, (union sigval){ .sival_int = 101 }));
    must(sigqueue(getpid(), SIGRTMIN + 4, (union sigval){ .sival_int = 102 }));
    must(sigqueue(getpid(), SIGRTMIN + 3, (union sigval){ .sival_int = 103 })); /* also pending for each thread */
    for (intptr_t id = 1; id <= THREADS; id++)
        check(!pthread_create(&threads[id], NULL, run, (void *)id), "pthread_create");
    pthread_barrier_wait(&ready);
    pthread_barrier_wait(&go);
    for (int id = 1; id <= THREADS; id++)
        pthread_join(threads[id], NULL);
    int code, value;
    /* The main thread's own come first. */
    for (int i = 1; i <= 2; i++) {
        check_equal(take(SIGRTMIN + 3, &code, &value), SIGRTMIN + 3);
        check_equal(value, i);
    }
    check_equal(take(SIGRTMIN + 3, &code, &value), SIGRTMIN + 3);
    check_equal(value, 103);
    check_equal(take(SIGRTMIN + 3, &code, &value), -1);
    check_equal(take(SIGHUP, &code, &value), SIGHUP);
    check_equal(code, SI_TKILL);
    check_equal(take(SIGTERM, &code, &value), SIGTERM);
    check_equal(code, SI_USER);
    for (int i = 101; i <= 102; i++) {
        check_equal(take(SIGRTMIN + 4, &code, &value), SIGRTMIN + 4);
        check_equal(code, SI_QUEUE);
        check_equal(value, i);
    }
    check_equal(take(SIGTERM, &code, &value), -1);
    pass();
}
