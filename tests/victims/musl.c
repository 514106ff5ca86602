/* A program whose libc is musl: the same library serves it, as it has no libc of its own. */
/* build: musl-gcc -O2 -pthread */
#include "victim.h"
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

static volatile sig_atomic_t got;
static void handler(int signal)
{
    got = signal;
}

static void *thread(void *arg)
{
    check_equal(pthread_mutex_trylock(arg), EBUSY);
    return arg;
}

int main(void)
{
    signal(SIGUSR1, handler);
    char *block = malloc(100000);
    memset(block, 5, 100000);
    pthread_mutex_t mutex;
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&mutex, &attr);
    checkpoint_here();
    for (int i = 0; i < 100000; i++)
        check_equal(block[i], 5);
    check_equal(raise(SIGUSR1), 0);
    check_equal(got, SIGUSR1);
    check_equal(pthread_mutex_lock(&mutex), 0);
    check_equal(pthread_mutex_lock(&mutex), EDEADLK);
    pthread_t id;
    check_equal(pthread_create(&id, NULL, thread, &mutex), 0);
    check_equal(pthread_join(id, NULL), 0);
    check_equal(pthread_mutex_unlock(&mutex), 0);
    pid_t child = must(fork());
    if (child == 0)
        _exit(getpid() == syscall(SYS_getpid) ? 3 : 4);
    int status;
    check_equal(must(waitpid(child, &status, 0)), child);
    check_equal(status, 3 << 8);
    char *at = sbrk(0);
    check(at != (char *)-1, "sbrk");
    pass();
}
