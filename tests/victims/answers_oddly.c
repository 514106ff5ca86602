/* Does not do what a request to save asks for: answers it in words that no save is answered with (docs/protocol.md), or with "silent" not at all; with "blocks" it
 * blocks the signal. It has a seccomp filter: nobody can find out whose handler it is. */
#include "victim.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>

static int is_silent;

static void answer(int number, siginfo_t *info, void *user)
{
    (void)number;
    (void)user;
    if (is_silent)
        return;
    char path[64], line[128];
    uint64_t value = (uint64_t)info->si_value.sival_ptr;
    snprintf(path, sizeof path, "/proc/%d/fd/%d", info->si_pid, (int)(value & 0xffffff));
    int fd = must(open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC));
    int len = snprintf(line, sizeof line, "ckpt 1 accepted pid=%d generation=1\n", getpid());
    check_equal(write(fd, line, len), len);
    len = snprintf(line, sizeof line, "refusal of a check\n");
    check_equal(write(fd, line, len), len);
    close(fd);
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    is_silent = !strcmp(how, "silent");
    struct sigaction action = { .sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_RESTART };
    must(sigaction(SIGUSR2, &action, NULL));
    if (!strcmp(how, "blocks")) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGUSR2);
        must(sigprocmask(SIG_BLOCK, &set, NULL));
    }
    struct sock_filter code[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
    struct sock_fprog program = { .len = sizeof code / sizeof *code, .filter = code };
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
    checkpoint_here();
    pass();
}
