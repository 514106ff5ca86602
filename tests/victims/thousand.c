/* A thousand threads that sleep and count. */
#include "victim.h"
#include <pthread.h>

#define THREADS 1000
static volatile int stop;
static unsigned long counts[THREADS];

static void *count(void *at)
{
    do {
        ++*(unsigned long *)at;
        struct timespec a_while = { 0, 50000000 };
        nanosleep(&a_while, NULL);
    } while (!stop);
    return at;
}

int main(void)
{
    static pthread_t threads[THREADS];
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    for (int i = 0; i < THREADS; i++)
        check_equal(pthread_create(&threads[i], &small, count, &counts[i]), 0);
    checkpoint_here();
    stop = 1;
    for (int i = 0; i < THREADS; i++) {
        void *result;
        check_equal(pthread_join(threads[i], &result), 0);
        check(result == &counts[i] && counts[i] > 0, "thread %d", i);
    }
    pass();
}
