/* Answers a request to save in words that a request to save is not answered with: docs/protocol.md. */
#include "victim.h"
#include <signal.h>

static void answer(int number, siginfo_t *info, void *user)
{
    (void)number;
    (void)user;
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

int main(void)
{
    struct sigaction action = { .sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_RESTART };
    must(sigaction(SIGUSR2, &action, NULL));
    checkpoint_here();
    pass();
}
