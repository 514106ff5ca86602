/* Threads that hold the lock of musl's list of threads, as they do inside pthread_create(3): the word that the kernel clears at a thread's end, and
 * the owner's id in it. Both the lock and the thread get to know the new id, and so does one that waits for the owner's end as pthread_join(3)
 * does: until another id is there. build: musl-gcc -O2 */
#include "victim.h"
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/prctl.h>

static _Thread_local volatile int signalled;
static volatile int *list_lock;
static sem_t locked, go_on, wait_now;
static volatile int has_let_go, waiter_id, has_waited;

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
    has_let_go = 1;
    *list_lock = 0;
    must(syscall(SYS_futex, list_lock, 1, INT_MAX));
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
    /* At its end it takes the lock once more. */
    while (waiter_id && !has_waited)
        sched_yield();
    return unused;
}

/* __tl_sync() of musl: the compiler keeps the id in a register. */
static void *waits(void *unused)
{
    while (sem_wait(&wait_now) != 0)
        ;
    waiter_id = syscall(SYS_gettid);
    int owner = *list_lock;
    do {
        long result = SYS_futex;
        register long no_timeout asm("r10") = 0;
        asm volatile("syscall" : "+a"(result) : "D"(list_lock), "S"(0), "d"(owner), "r"(no_timeout) : "rcx", "r11", "memory");
    } while (*list_lock == owner);
    check(has_let_go, "the owner is still there");
    has_waited = 1;
    return unused;
}

static int waits_for_owner(void)
{
    char name[64], text[256] = "", call[64];
    snprintf(name, sizeof name, "/proc/self/task/%d/syscall", waiter_id);
    snprintf(call, sizeof call, "%d %p 0x0 %#x ", SYS_futex, (void *)list_lock, *list_lock);
    int file = open(name, O_RDONLY);
    if (file == -1)
        return 0;
    must(read(file, text, sizeof text - 1));
    must(close(file));
    return !strncmp(text, call, strlen(call));
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
    int joined = argc > 1 && !strcmp(argv[1], "joined");
    pthread_t thread, waiter;
    /* Before the lock is taken: musl takes it for a start. */
    if (joined)
        check_equal(pthread_create(&waiter, NULL, waits, NULL), 0);
    if (by_main) {
        lock();
    } else {
        check_equal(pthread_create(&thread, NULL, work, NULL), 0);
        while (sem_wait(&locked) != 0)
            ;
    }
    sem_post(&wait_now);
    while (joined && !waits_for_owner())
        sched_yield();
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
    if (joined)
        check_equal(pthread_join(waiter, NULL), 0);
    pass();
}
