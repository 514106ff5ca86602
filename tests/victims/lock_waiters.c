/* Locks that know their owner, in the hands of threads that were stopped on the way to them: after a restart they must get to know the new ids. Some wait for a lock,
 * for a condition under it, or have got one from an owner that died. build: gcc -O2 -pthread */
#include "mutexes.h"
#include <pthread.h>

static pthread_mutex_t checking, robust, robust_recursive, inheriting, died;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static volatile int stop;
static volatile pid_t tids[4];

/* Locks it, also once more as its type allows, and unlocks it. */
static void use(pthread_mutex_t *mutex, int again)
{
    check_equal(pthread_mutex_lock(mutex), 0);
    check_equal(pthread_mutex_lock(mutex), again);
    check_equal(pthread_mutex_unlock(mutex), 0);
    if (again == 0)
        check_equal(pthread_mutex_unlock(mutex), 0);
    check_equal(pthread_mutex_unlock(mutex), EPERM);
}

static void *wants_robust(void *unused)
{
    tids[0] = gettid();
    use(&robust, EDEADLK);
    return unused;
}

static void *wants_robust_recursive(void *unused)
{
    tids[1] = gettid();
    use(&robust_recursive, 0);
    return unused;
}

static void *wants_inheriting(void *unused)
{
    tids[2] = gettid();
    use(&inheriting, 0);
    return unused;
}

/* Waits for a condition: it is a user of the lock meanwhile. */
static void *waits(void *unused)
{
    check_equal(pthread_mutex_lock(&checking), 0);
    tids[3] = gettid();
    while (!stop)
        check_equal(pthread_cond_wait(&never, &checking), 0);
    check_equal(pthread_mutex_lock(&checking), EDEADLK);
    check_equal(pthread_mutex_unlock(&checking), 0);
    return unused;
}

static void *dies(void *unused)
{
    check_equal(pthread_mutex_lock(&died), 0);
    return unused;
}

int main(void)
{
    void *(*const work[])(void *) = { wants_robust, wants_robust_recursive, wants_inheriting, waits };
    pthread_t threads[4], short_lived;
    make(&checking, 0, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_ERRORCHECK);
    make(&robust, 1, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_ERRORCHECK);
    make(&robust_recursive, 1, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_RECURSIVE);
    make(&inheriting, 0, PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_RECURSIVE);
    make(&died, 1, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_ERRORCHECK);
    check_equal(pthread_create(&short_lived, NULL, dies, NULL), 0);
    check_equal(pthread_join(short_lived, NULL), 0);
    check_equal(pthread_mutex_lock(&died), EOWNERDEAD);
    check_equal(pthread_mutex_lock(&robust), 0);
    check_equal(pthread_mutex_lock(&robust_recursive), 0);
    check_equal(pthread_mutex_lock(&inheriting), 0);
    for (int i = 0; i < 4; i++) {
        check_equal(pthread_create(&threads[i], NULL, work[i], NULL), 0);
        until_it_sleeps(&tids[i]);
    }
    /* The other user of this one waits. */
    check_equal(pthread_mutex_lock(&checking), 0);
    checkpoint_here();
    check_equal(pthread_mutex_lock(&checking), EDEADLK);
    stop = 1;
    check_equal(pthread_cond_broadcast(&never), 0);
    check_equal(pthread_mutex_unlock(&checking), 0);
    check_equal(pthread_mutex_consistent(&died), 0);
    check_equal(pthread_mutex_lock(&died), EDEADLK);
    check_equal(pthread_mutex_unlock(&died), 0);
    check_equal(pthread_mutex_unlock(&robust), 0);
    check_equal(pthread_mutex_unlock(&robust_recursive), 0);
    check_equal(pthread_mutex_unlock(&inheriting), 0);
    for (int i = 0; i < 4; i++)
        check_equal(pthread_join(threads[i], NULL), 0);
    pass();
}
