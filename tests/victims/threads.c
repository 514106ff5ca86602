/* Eight threads, each with attributes of its own, that wait in a barrier, a condition variable, a mutex, a sleep, a read, or compute. All of it goes on. */
#include "victim.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>

#define THREADS 8
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static volatile int released, signalled[THREADS];
static _Thread_local long mine;
static volatile unsigned long spins;

static void took(int sig)
{
    (void)sig;
    signalled[mine]++;
}

static void *work(void *number)
{
    long n = (long)number;
    mine = n;
    char name[16];
    snprintf(name, sizeof name, "victim-%ld", n);
    must(prctl(PR_SET_NAME, name));
    sigset_t set;
    sigemptyset(&set);
    if (n % 2)
        sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_SETMASK, &set, NULL);
    stack_t own = { .ss_sp = malloc(65536), .ss_size = 65536 };
    must(sigaltstack(&own, NULL));
    pthread_barrier_wait(&barrier);
    /* Here the process is saved. */
    if (n == 0)
        while (!released)
            spins++;
    pthread_mutex_lock(&lock);
    while (!released)
        pthread_cond_wait(&turn, &lock);
    pthread_mutex_unlock(&lock);
    /* Everything that is the thread's own is there. */
    check_equal(mine, n);
    char now[16];
    must(prctl(PR_GET_NAME, now));
    check(!strcmp(now, name), "name %s, not %s", now, name);
    sigset_t after;
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    check_equal(sigismember(&after, SIGTERM), n % 2);
    stack_t stack;
    must(sigaltstack(NULL, &stack));
    check(stack.ss_sp == own.ss_sp && stack.ss_size == own.ss_size, "alternate stack");
    /* libc and the kernel agree about who this is. */
    int before = signalled[n];
    check_equal(pthread_kill(pthread_self(), SIGUSR1), 0);
    check_equal(signalled[n], before + 1);
    pthread_barrier_wait(&barrier);
    pause();
    return number;
}

int main(void)
{
    pthread_t threads[THREADS];
    struct sigaction action = { .sa_handler = took };
    must(sigaction(SIGUSR1, &action, NULL));
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (long i = 0; i < THREADS; i++)
        check_equal(pthread_create(&threads[i], NULL, work, (void *)i), 0);
    pthread_barrier_wait(&barrier);
    checkpoint_here();
    pthread_mutex_lock(&lock);
    released = 1;
    pthread_cond_broadcast(&turn);
    pthread_mutex_unlock(&lock);
    pthread_barrier_wait(&barrier);
    /* Signals between threads, cancellation, join. */
    for (int i = 0; i < THREADS; i++) {
        check_equal(pthread_cancel(threads[i]), 0);
        void *result;
        check_equal(pthread_join(threads[i], &result), 0);
        check(result == PTHREAD_CANCELED || result == (void *)(long)i, "result %p", result);
    }
    /* And new ones can be made. */
    released = 1;
    check_equal(status_field("Threads", 10), 1);
    pass();
}
