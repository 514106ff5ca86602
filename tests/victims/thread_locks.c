/* Locks between threads that look at who holds them, or that the kernel follows: robust, priority-inheriting, recursive; and barriers, semaphores,
 * cancellation, keys with destructors. Some are held, and some are waited for. */
#include "mutexes.h"
#include <pthread.h>
#include <semaphore.h>

static pthread_mutex_t robust, inheriting, recursive, plain = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t table = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t held, meeting;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static pthread_key_t key;
static sem_t dying;
static volatile int destroyed, cleaned, got_inheriting;
static volatile pid_t waiter_tid;

static void destroy(void *value)
{
    destroyed += (int)(intptr_t)value;
}

static void clean(void *value)
{
    cleaned += (int)(intptr_t)value;
}

static void unlock(void *mutex)
{
    pthread_mutex_unlock(mutex);
}

/* Holds the robust one, and dies with it. */
static void *holder(void *unused)
{
    pthread_setspecific(key, (void *)1);
    check_equal(pthread_mutex_lock(&robust), 0);
    check_equal(pthread_mutex_lock(&recursive), 0);
    check_equal(pthread_mutex_lock(&recursive), 0);
    check_equal(pthread_rwlock_wrlock(&table), 0);
    pthread_barrier_wait(&held);
    sem_wait(&dying);
    check_equal(pthread_mutex_lock(&recursive), 0);
    for (int i = 0; i < 3; i++)
        check_equal(pthread_mutex_unlock(&recursive), 0);
    check_equal(pthread_mutex_unlock(&recursive), EPERM);
    check_equal(pthread_rwlock_unlock(&table), 0);
    return unused;
}

/* Waits for the priority-inheriting one, which the main thread holds. */
static void *waiter(void *unused)
{
    pthread_setspecific(key, (void *)10);
    pthread_barrier_wait(&held);
    waiter_tid = gettid();
    check_equal(pthread_mutex_lock(&inheriting), 0);
    got_inheriting = 1;
    check_equal(pthread_mutex_unlock(&inheriting), 0);
    pthread_barrier_wait(&meeting);
    return unused;
}

/* Waits for what never comes, until it is cancelled. */
static void *cancelled(void *unused)
{
    pthread_setspecific(key, (void *)100);
    pthread_cleanup_push(clean, (void *)1);
    pthread_mutex_lock(&plain);
    pthread_cleanup_push(unlock, &plain);
    pthread_barrier_wait(&held);
    for (;;)
        pthread_cond_wait(&never, &plain);
    pthread_cleanup_pop(1);
    pthread_cleanup_pop(1);
    return unused;
}

/* Computes, and is cancelled at any moment. */
static void *busy(void *unused)
{
    int old;
    pthread_setspecific(key, (void *)1000);
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
    pthread_barrier_wait(&held);
    for (volatile unsigned long spins = 0;; spins++)
        ;
    return unused;
}

int main(void)
{
    pthread_t threads[4];
    void *(*const work[])(void *) = { holder, waiter, cancelled, busy };
    make(&robust, 1, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_NORMAL);
    make(&inheriting, 0, PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_ERRORCHECK);
    make(&recursive, 0, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_RECURSIVE);
    pthread_key_create(&key, destroy);
    pthread_barrier_init(&held, NULL, 5);
    pthread_barrier_init(&meeting, NULL, 2);
    sem_init(&dying, 0, 0);
    check_equal(pthread_mutex_lock(&inheriting), 0);
    for (int i = 0; i < 4; i++)
        check_equal(pthread_create(&threads[i], NULL, work[i], NULL), 0);
    pthread_barrier_wait(&held);
    /* Until the waiter sleeps in the kernel, which then follows the lock. */
    while (!waiter_tid || thread_state(waiter_tid) != 'S')
        usleep(1000);
    checkpoint_here();
    check_equal(pthread_mutex_trylock(&robust), EBUSY);
    check_equal(pthread_mutex_trylock(&recursive), EBUSY);
    check_equal(pthread_rwlock_tryrdlock(&table), EBUSY);
    check_equal(pthread_mutex_lock(&inheriting), EDEADLK);
    check_equal(got_inheriting, 0);
    check_equal(pthread_mutex_unlock(&inheriting), 0);
    pthread_barrier_wait(&meeting);
    check_equal(got_inheriting, 1);
    sem_post(&dying);
    check_equal(pthread_join(threads[0], NULL), 0);
    /* The kernel has found the dead thread's lock in its list. */
    check_equal(pthread_mutex_lock(&robust), EOWNERDEAD);
    check_equal(pthread_mutex_consistent(&robust), 0);
    check_equal(pthread_mutex_unlock(&robust), 0);
    check_equal(pthread_rwlock_tryrdlock(&table), 0);
    check_equal(pthread_join(threads[1], NULL), 0);
    for (int i = 2; i < 4; i++) {
        void *result;
        check_equal(pthread_cancel(threads[i]), 0);
        check_equal(pthread_join(threads[i], &result), 0);
        check(result == PTHREAD_CANCELED, "thread %d: %p", i, result);
    }
    check_equal(cleaned, 1);
    check_equal(destroyed, 1111);
    check_equal(pthread_mutex_trylock(&plain), 0);
    pass();
}
