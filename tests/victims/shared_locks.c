/* Locks in memory that processes share, and at addresses that are no multiple of 8, held by a thread. build: gcc -O2 -pthread */
#include "mutexes.h"

enum { PLACES = 4, KINDS = 4 };
static char *places[PLACES];
static volatile int held, stop;

static pthread_mutex_t *mutex(int place, int kind)
{
    return (pthread_mutex_t *)(places[place] + 64 * kind);
}

static pthread_rwlock_t *lock(int place)
{
    return (pthread_rwlock_t *)(places[place] + 64 * KINDS);
}

static void *work(void *unused)
{
    for (int place = 0; place < PLACES; place++) {
        for (int kind = 0; kind < KINDS; kind++)
            check_equal(pthread_mutex_lock(mutex(place, kind)), 0);
        check_equal(pthread_rwlock_wrlock(lock(place)), 0);
    }
    held = 1;
    while (!stop)
        usleep(1000);
    for (int place = 0; place < PLACES; place++) {
        for (int kind = 0; kind < KINDS; kind++) {
            check_equal(pthread_mutex_lock(mutex(place, kind)), kind % 2 ? 0 : EDEADLK);
            check_equal(pthread_mutex_unlock(mutex(place, kind)), 0);
            check_equal(pthread_mutex_unlock(mutex(place, kind)), kind % 2 ? 0 : EPERM);
        }
        check_equal(pthread_rwlock_wrlock(lock(place)), EDEADLK);
        check_equal(pthread_rwlock_unlock(lock(place)), 0);
    }
    return unused;
}

int main(void)
{
    pthread_t thread;
    int file = must(memfd_create("locks", 0)), nameless = must(open("nameless", O_RDWR | O_CREAT, 0600));
    must(unlink("nameless"));
    must(ftruncate(file, PAGE));
    must(ftruncate(nameless, PAGE));
    places[0] = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    places[1] = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    places[2] = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, nameless, 0);
    places[3] = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int place = 0; place < PLACES; place++) {
        check(places[place] != MAP_FAILED, "mmap: %s", strerror(errno));
        if (place == 3)
            places[place] += 4;
        for (int kind = 0; kind < KINDS; kind++)
            make(mutex(place, kind), 0, kind < 2 ? PTHREAD_PRIO_NONE : PTHREAD_PRIO_INHERIT,
                 kind % 2 ? PTHREAD_MUTEX_RECURSIVE : PTHREAD_MUTEX_ERRORCHECK);
        check_equal(pthread_rwlock_init(lock(place), NULL), 0);
    }
    check_equal(pthread_create(&thread, NULL, work, NULL), 0);
    while (!held)
        usleep(1000);
    checkpoint_here();
    stop = 1;
    check_equal(pthread_join(thread, NULL), 0);
    pass();
}
