/* What libc keeps about the thread agrees with the kernel: owners of mutexes, raise, new threads, fork, popen, system, exec. */
/* build: gcc -O2 -pthread */
#include "victim.h"
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

static volatile sig_atomic_t raised;
static void on_signal(int signal)
{
    raised = signal;
}

static void *thread(void *mutex)
{
    check_equal(pthread_mutex_trylock(mutex), EBUSY);
    check_equal(pthread_mutex_unlock(mutex), EPERM);
    return (void *)(long)gettid();
}

static pthread_mutex_t *make(int kind, int robust)
{
    pthread_mutex_t *mutex = malloc(sizeof *mutex);
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, kind);
    if (robust)
        pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    check_equal(pthread_mutex_init(mutex, &attr), 0);
    return mutex;
}

static void *dies_with_lock(void *mutex)
{
    check_equal(pthread_mutex_lock(mutex), 0);
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "after-exec"))
        pass();

    pthread_mutex_t *errorcheck = make(PTHREAD_MUTEX_ERRORCHECK, 0), *recursive = make(PTHREAD_MUTEX_RECURSIVE, 0);
    pthread_mutex_t *robust = make(PTHREAD_MUTEX_NORMAL, 1);
    pid_t pid = getpid();
    checkpoint_here();

    check_equal(getpid(), syscall(SYS_getpid));
    check_equal(gettid(), syscall(SYS_gettid));
    check_equal(gettid(), getpid());
    (void)pid; /* a restarted process may have another one */

    check_equal(pthread_mutex_lock(errorcheck), 0);
    check_equal(pthread_mutex_lock(errorcheck), EDEADLK);
    check_equal(pthread_mutex_lock(recursive), 0);
    check_equal(pthread_mutex_lock(recursive), 0);
    check_equal(pthread_mutex_unlock(recursive), 0);
    check_equal(pthread_mutex_unlock(recursive), 0);

    pthread_t id;
    void *tid;
    check_equal(pthread_create(&id, NULL, thread, errorcheck), 0);
    check_equal(pthread_join(id, &tid), 0);
    check((long)tid != getpid(), "the thread has the id %ld of its leader", (long)tid);
    check_equal(pthread_mutex_unlock(errorcheck), 0);
    check_equal(pthread_create(&id, NULL, dies_with_lock, robust), 0);
    check_equal(pthread_join(id, NULL), 0);
    check_equal(pthread_mutex_lock(robust), EOWNERDEAD);

    signal(SIGUSR1, on_signal);
    check_equal(raise(SIGUSR1), 0);
    check_equal(raised, SIGUSR1);
    raised = 0;
    check_equal(pthread_kill(pthread_self(), SIGUSR1), 0);
    check_equal(raised, SIGUSR1);

    int status;
    pid_t child = must(fork());
    if (child == 0) {
        raised = 0;
        raise(SIGUSR1);
        _exit(raised == SIGUSR1 && getppid() != getpid() && getpid() == (int)syscall(SYS_getpid) ? 42 : 43);
    }
    check_equal(must(waitpid(child, &status, 0)), child);
    check(WIFEXITED(status) && WEXITSTATUS(status) == 42, "child: status %#x", status);

    char line[100] = "";
    FILE *pipe = popen("echo $((6 * 7))", "r");
    check(pipe && fgets(line, sizeof line, pipe) && !strcmp(line, "42\n"), "popen said %s", line);
    check_equal(pclose(pipe), 0);
    check_equal(system("exit 7") >> 8, 7);

    /* By name: /proc/self/exe needs a privilege to be set, and is not the program after a restart. */
    execl(argv[0], argv[0], "after-exec", NULL);
    fail("exec: %s", strerror(errno));
}
