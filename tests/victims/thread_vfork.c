/* A thread that sleeps in vfork(2) until its child ends: no signal reaches it meanwhile. */
#include "victim.h"
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static volatile uint64_t *control;
static volatile int started;

static void *fork_child(void *unused)
{
    must(prctl(PR_SET_NAME, "in-vfork"));
    pid_t child = vfork();
    check(child >= 0, "vfork: %s", strerror(errno));
    if (child == 0) {
        started = 1;
        while (!*control)
            syscall(SYS_sched_yield);
        _exit(7);
    }
    int status;
    must(waitpid(child, &status, 0));
    check(WIFEXITED(status) && WEXITSTATUS(status) == 7, "the child's status is %#x", status);
    return unused;
}

int main(void)
{
    pthread_t thread;
    control = map_control(NULL);
    check_equal(pthread_create(&thread, NULL, fork_child, NULL), 0);
    while (!started)
        usleep(1000);
    checkpoint_here();
    check_equal(pthread_join(thread, NULL), 0);
    checkpoint_here();
    pass();
}
