/* Ends, by a thread's exit_group(2), some microseconds after it has asked for a save. Every thread must be there at a restart, or it would hang. */
#include "victim.h"
#include <pthread.h>
#include <signal.h>

#define THREADS 24

static pthread_barrier_t start, end;

static void *work(void *unused)
{
    pthread_barrier_wait(&start);
    /* Not past this point without every thread. */
    pthread_barrier_wait(&end);
    return unused;
}

static void *finish(void *delay)
{
    struct timespec rest = { 0, 1000 * atol(delay) }, quick = { 0, 1 };
    pthread_barrier_wait(&start);
    must(kill(getpid(), SIGUSR2));
    syscall(SYS_nanosleep, rest.tv_nsec ? &rest : &quick, NULL);
    _exit(7);
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    pthread_t last;
    if (argc < 2)
        pass();
    pthread_barrier_init(&start, NULL, THREADS + 2);
    pthread_barrier_init(&end, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        check_equal(pthread_create(&threads[i], NULL, work, NULL), 0);
    check_equal(pthread_create(&last, NULL, finish, argv[1]), 0);
    pthread_barrier_wait(&start);
    pause();
    return 1;
}
