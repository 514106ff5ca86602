/* A save of a vfork child, which runs on its parent's memory while the parent sleeps. */
#include "victim.h"
#include <sys/wait.h>

int main(void)
{
    volatile uint64_t *control = map_control(NULL);
    volatile int local = 1;
    pid_t child = vfork();
    check(child >= 0, "vfork: %s", strerror(errno));
    if (child == 0) {
        /* Only what a vfork child may do: system calls. */
        local = 2;
        say_ready();
        while (!*control)
            syscall(SYS_sched_yield);
        _exit(7);
    }
    int status;
    must(waitpid(child, &status, 0));
    check(WIFEXITED(status) && WEXITSTATUS(status) == 7, "the child's status is %#x", status);
    check_equal(local, 2);
    check(waitpid(-1, &status, 0) == -1 && errno == ECHILD, "there is another child");
    pass();
}
