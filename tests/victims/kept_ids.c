/* A process that remembers its own numbers: each id of process, group and threads is what it was, everything agrees about them, and it has no more privilege than before. */
#include "victim.h"
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#define THREADS 4
static pid_t ids[THREADS];
static pthread_barrier_t barrier;
static volatile sig_atomic_t told;
static unsigned capabilities[6];

static void tell(int sig)
{
    (void)sig;
    told++;
}

static void read_capabilities(unsigned *now)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    must(syscall(SYS_capget, &header, now));
}

static void check_capabilities(void)
{
    unsigned now[6];
    read_capabilities(now);
    check(!memcmp(now, capabilities, sizeof now), "capabilities %x %x, not %x %x", now[0], now[3], capabilities[0], capabilities[3]);
}

static void *work(void *number)
{
    long n = (long)number;
    ids[n] = gettid();
    pthread_barrier_wait(&barrier);
    /* Here the process is saved. */
    pthread_barrier_wait(&barrier);
    check_equal(gettid(), ids[n]);
    check_equal(syscall(SYS_gettid), ids[n]);
    check_capabilities();
    pthread_barrier_wait(&barrier);
    return NULL;
}

int main(void)
{
    pid_t pid = getpid();
    uid_t uid = getuid();
    gid_t gid = getgid();
    setpgid(0, 0);
    read_capabilities(capabilities);
    signal(SIGUSR1, tell);
    pthread_mutex_t checked;
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&checked, &attr);
    check_equal(pthread_mutex_lock(&checked), 0);
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    pthread_t threads[THREADS];
    for (long n = 0; n < THREADS; n++)
        check_equal(pthread_create(&threads[n], NULL, work, (void *)n), 0);
    pthread_barrier_wait(&barrier);
    checkpoint_here();
    check_equal(getpid(), pid);
    check_equal(gettid(), pid);
    check_equal(getpgrp(), pid);
    check_equal(getuid(), uid);
    check_equal(geteuid(), uid);
    check_equal(getgid(), gid);
    check_equal(status_field("Pid", 10), pid);
    check_capabilities();
    must(kill(pid, SIGUSR1));
    check_equal(told, 1);
    check_equal(syscall(SYS_tgkill, pid, ids[1], 0), 0);
    check_equal(pthread_mutex_unlock(&checked), 0);
    char name[64];
    snprintf(name, sizeof name, "/proc/%d/task/%d/comm", pid, ids[2]);
    must(access(name, R_OK));
    /* It has children as ever; one of them leaves a child of its own behind, which somebody takes in. */
    int pipes[2];
    must(pipe(pipes));
    pid_t child = must(fork());
    if (child == 0) {
        if (fork() == 0) {
            while (getppid() == child)
                ;
            _exit(write(pipes[1], "x", 1) != 1);
        }
        _exit(getppid() == pid ? 5 : 6);
    }
    int status;
    check_equal(must(waitpid(child, &status, 0)), child);
    check(WIFEXITED(status) && WEXITSTATUS(status) == 5, "status %x", status);
    close(pipes[1]);
    char x;
    check_equal(read(pipes[0], &x, 1), 1);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    for (long n = 0; n < THREADS; n++)
        check_equal(pthread_join(threads[n], NULL), 0);
    pass();
}
