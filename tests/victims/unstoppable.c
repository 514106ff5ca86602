/* A thread that blocks really every signal, as only a raw system call can. */
#include "victim.h"
#include <pthread.h>
#include <sys/prctl.h>

static volatile int stop, deaf;

static void *listen_not(void *unused)
{
    uint64_t all = ~0ULL;
    must(prctl(PR_SET_NAME, "deaf"));
    must(syscall(SYS_rt_sigprocmask, 0, &all, NULL, 8));
    deaf = 1;
    while (!stop) {
        struct timespec a_while = { 0, 1000000 };
        nanosleep(&a_while, NULL);
    }
    return unused;
}

int main(void)
{
    pthread_t thread;
    check_equal(pthread_create(&thread, NULL, listen_not, NULL), 0);
    while (!deaf)
        ;
    checkpoint_here();
    stop = 1;
    check_equal(pthread_join(thread, NULL), 0);
    pass();
}
