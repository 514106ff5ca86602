/* A child of a preloaded program, saved by its own pid, restarts without its parent. */
#include "victim.h"
#include <signal.h>
#include <sys/wait.h>

int main(void)
{
    int shared = 5;
    pid_t child = must(fork());
    if (child == 0) {
        shared = 6;
        char text[40];
        snprintf(text, sizeof text, "child %d\n", getpid());
        check(write(1, text, strlen(text)) > 0, "write");
        checkpoint_here();
        check_equal(shared, 6);
        check_equal(getpid(), syscall(SYS_getpid));
        pid_t grandchild = must(fork());
        if (grandchild == 0)
            _exit(9);
        int status;
        check_equal(must(waitpid(grandchild, &status, 0)), grandchild);
        check_equal(status, 9 << 8);
        pass();
    }
    int status;
    must(waitpid(child, &status, 0));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}
