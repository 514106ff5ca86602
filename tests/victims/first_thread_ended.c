/* A program whose first thread has called pthread_exit: the others go on without it. */
#include "victim.h"
#include <pthread.h>

static pthread_t first;

static void *go_on(void *unused)
{
    check_equal(pthread_join(first, NULL), 0);
    checkpoint_here();
    pass();
    return unused;
}

int main(void)
{
    pthread_t thread;
    first = pthread_self();
    check_equal(pthread_create(&thread, NULL, go_on, NULL), 0);
    pthread_exit(NULL);
}
