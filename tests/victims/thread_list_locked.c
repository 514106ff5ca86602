/* Threads that hold the lock of musl's list of threads, as they do inside pthread_create(3): the word that the kernel clears at a thread's end, and
 * the owner's id in it. Both the lock and the thread get to know the new id. build: musl-gcc -O2 */
#include "victim.h"
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/prctl.h>

static _Thread_local volatile int signalled;
static volatile int *list_lock;
static sem_t locked, go_on;

static void took(int signal)
{
    (void)signal;
    signalled++;
}

static void lock(void)
{
    must(prctl(PR_GET_TID_ADDRESS, &list_lock));
    /* The thread that starts this one may not have let go of it yet. */
    while (!__sync_bool_compare_and_swap(list_lock, 0, syscall(SYS_gettid)))
        sched_yield();
}

/* libc's id of this thread is the kernel's. */
static void unlock(void)
{
    check_equal(*list_lock, syscall(SYS_gettid));
    *list_lock = 0;
    check_equal(pthread_kill(pthread_self(), SIGUSR1), 0);
    check_equal(signalled, 1);
}

static void *work(void *unused)
{
    lock();
    sem_post(&locked);
    while (sem_wait(&go_on) != 0)
        ;
    unlock();
    return unused;
}

static void *nothing(void *unused)
{
    return unused;
}

int main(int argc, char **argv)
{
    struct sigaction action = { .sa_handler = took };
    must(sigaction(SIGUSR1, &action, NULL));
    int by_main = argc > 1 && !strcmp(argv[1], "main");
    pthread_t thread;
    if (by_main) {
        lock();
    } else {
        check_equal(pthread_create(&thread, NULL, work, NULL), 0);
        while (sem_wait(&locked) != 0)
            ;
    }
    checkpoint_here();
    if (by_main) {
        unlock();
        check_equal(pthread_create(&thread, NULL, nothing, NULL), 0);
    } else {
        check_equal(pthread_kill(pthread_self(), SIGUSR1), 0);
        check_equal(signalled, 1);
        sem_post(&go_on);
    }
    check_equal(pthread_join(thread, NULL), 0);
    pass();
}
