/* Robust mutexes on the list that a thread has told the kernel of: with new ids, too, they are the thread's. build: gcc -O2 -pthread */
#include "mutexes.h"

enum { KINDS = 6 };
static pthread_mutex_t *mutexes[2][KINDS];
static volatile int held, stop;

static void unlocked(pthread_mutex_t *mutex, int is_recursive)
{
    check_equal(pthread_mutex_lock(mutex), is_recursive ? 0 : EDEADLK);
    if (is_recursive)
        check_equal(pthread_mutex_unlock(mutex), 0);
    check_equal(pthread_mutex_unlock(mutex), 0);
    check_equal(pthread_mutex_unlock(mutex), EPERM);
    check_equal(pthread_mutex_lock(mutex), 0);
    check_equal(pthread_mutex_unlock(mutex), 0);
}

static void *work(void *of_thread)
{
    pthread_mutex_t **own = of_thread;
    for (int i = 0; i < KINDS; i++)
        check_equal(pthread_mutex_lock(own[i]), 0);
    __atomic_add_fetch((int *)&held, 1, __ATOMIC_SEQ_CST);
    while (!stop)
        usleep(1000);
    for (int i = 0; i < KINDS; i++)
        unlocked(own[i], i % 2);
    return NULL;
}

int main(void)
{
    pthread_t threads[2];
    char *private = malloc(PAGE), *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check(shared != MAP_FAILED, "mmap: %s", strerror(errno));
    for (int t = 0; t < 2; t++)
        for (int i = 0; i < KINDS; i++) {
            /* The last two in shared memory, the middle two with priorities that are inherited. */
            mutexes[t][i] = (void *)((i < 4 ? private : shared) + 64 * (t * KINDS + i));
            make(mutexes[t][i], 1, i / 2 == 1 ? PTHREAD_PRIO_INHERIT : PTHREAD_PRIO_NONE,
                 i % 2 ? PTHREAD_MUTEX_RECURSIVE : PTHREAD_MUTEX_ERRORCHECK);
        }
    for (int t = 0; t < 2; t++)
        check_equal(pthread_create(threads + t, NULL, work, mutexes[t]), 0);
    while (held < 2)
        usleep(1000);
    checkpoint_here();
    stop = 1;
    for (int t = 0; t < 2; t++)
        check_equal(pthread_join(threads[t], NULL), 0);
    pass();
}
