/* Who gets a file's signals, which, and that they come; a pidfd of the process itself. */
#include "victim.h"
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

static volatile sig_atomic_t came, from;

static void handler(int signal, siginfo_t *info, void *context)
{
    (void)context;
    came = signal;
    from = info->si_fd;
}

int main(void)
{
    struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
    must(sigaction(SIGRTMIN + 1, &action, NULL));
    int pair[2], ends[2];
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    must(fcntl(pair[0], F_SETOWN, getpid()));
    must(fcntl(pair[0], F_SETSIG, SIGRTMIN + 1));
    must(fcntl(pair[0], F_SETFL, O_ASYNC | O_NONBLOCK));
    must(pipe(ends));
    must(fcntl(ends[0], F_SETOWN, -getpgrp()));
    int file = must(open("file", O_CREAT | O_RDWR, 0644));
    struct f_owner_ex thread = { F_OWNER_TID, syscall(SYS_gettid) };
    must(fcntl(file, F_SETOWN_EX, &thread));
    int pidfd = syscall(SYS_pidfd_open, getpid(), 0);
    check(pidfd >= 0, "pidfd_open: %s", strerror(errno));

    checkpoint_here();
    struct f_owner_ex owner;
    must(fcntl(pair[0], F_GETOWN_EX, &owner));
    check_equal(owner.type, F_OWNER_PID);
    check_equal(owner.pid, getpid());
    check_equal(must(fcntl(pair[0], F_GETSIG)), SIGRTMIN + 1);
    check_equal(must(fcntl(pair[0], F_GETFL)) & (O_ASYNC | O_NONBLOCK), O_ASYNC | O_NONBLOCK);
    came = 0;
    must(write(pair[1], "x", 1));
    while (!came)
        poll(NULL, 0, 1);
    check_equal(came, SIGRTMIN + 1);
    check_equal(from, pair[0]);
    must(fcntl(ends[0], F_GETOWN_EX, &owner));
    check_equal(owner.type, F_OWNER_PGRP);
    check_equal(owner.pid, getpgrp());
    must(fcntl(file, F_GETOWN_EX, &owner));
    check_equal(owner.type, F_OWNER_TID);
    check_equal(owner.pid, syscall(SYS_gettid));
    check_equal(must(fcntl(pair[1], F_GETOWN)), 0);

    check_equal(syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0), 0);
    char name[64], line[256];
    snprintf(name, sizeof name, "/proc/self/fdinfo/%d", pidfd);
    FILE *info = fopen(name, "r");
    int pid = -1;
    while (fgets(line, sizeof line, info))
        sscanf(line, "Pid: %d", &pid);
    check_equal(pid, getpid());
    check_equal(must(fcntl(pidfd, F_GETFD)), FD_CLOEXEC);
    pass();
}
