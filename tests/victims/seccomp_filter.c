/* A process with a seccomp filter of its own, which allows everything but one system call that nobody makes. */
#include "victim.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

int main(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_uselib, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EXDEV),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { .len = sizeof code / sizeof *code, .filter = code };
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
    check(syscall(SYS_uselib, 0) == -1 && errno == EXDEV, "the filter");
    checkpoint_here();
    int is_filtered = syscall(SYS_uselib, 0) == -1 && errno == EXDEV;
    /* After a restart with --force it is gone. */
    check(is_filtered == (restarts() == 0), "the filter is %s", is_filtered ? "there" : "gone");
    pass();
}
