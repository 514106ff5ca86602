/* Threads that wait for work under a condition: a queue that is empty has numbers beside its mutex that are small, as ids are in a container. build: gcc -O2 -pthread */
#include "victim.h"
#include <pthread.h>

enum { WORKERS = 8, ITEMS = 200 };

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t is_not_empty;
    long count, capacity;
    pthread_cond_t is_not_full;
    long items[64];
    int stop;
} queue = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 32, PTHREAD_COND_INITIALIZER, { 0 }, 0 };

static void *work(void *sum)
{
    long *total = sum;
    for (;;) {
        check_equal(pthread_mutex_lock(&queue.mutex), 0);
        while (!queue.count && !queue.stop)
            check_equal(pthread_cond_wait(&queue.is_not_empty, &queue.mutex), 0);
        int is_over = !queue.count;
        if (!is_over)
            *total += queue.items[--queue.count];
        pthread_cond_signal(&queue.is_not_full);
        check_equal(pthread_mutex_unlock(&queue.mutex), 0);
        if (is_over)
            return NULL;
    }
}

static void put(long item)
{
    check_equal(pthread_mutex_lock(&queue.mutex), 0);
    while (queue.count == queue.capacity)
        check_equal(pthread_cond_wait(&queue.is_not_full, &queue.mutex), 0);
    queue.items[queue.count++] = item;
    pthread_cond_signal(&queue.is_not_empty);
    check_equal(pthread_mutex_unlock(&queue.mutex), 0);
}

int main(void)
{
    pthread_t workers[WORKERS];
    long sums[WORKERS] = { 0 }, sum = 0;
    for (int i = 0; i < WORKERS; i++)
        check_equal(pthread_create(workers + i, NULL, work, sums + i), 0);
    for (int i = 0; i < ITEMS; i++)
        put(i);
    checkpoint_here();
    for (int i = 0; i < ITEMS; i++)
        put(i);
    check_equal(pthread_mutex_lock(&queue.mutex), 0);
    queue.stop = 1;
    pthread_cond_broadcast(&queue.is_not_empty);
    check_equal(pthread_mutex_unlock(&queue.mutex), 0);
    for (int i = 0; i < WORKERS; i++) {
        check_equal(pthread_join(workers[i], NULL), 0);
        sum += sums[i];
    }
    check_equal(sum, ITEMS * (ITEMS - 1));
    pass();
}
