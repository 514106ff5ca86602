/* A handler of the program ends a blocking call, and asks for a save while it runs with every signal blocked: so the save comes as the handler returns, behind a
 * call whose EINTR is the program's. The call must return it, at once, in the process that was saved and in one that is restarted.
 *
 * The argument names the call. A thread sends the one signal when the call has begun, and ends.
 * build: gcc -O2 -pthread */
#include "victim.h"
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <ucontext.h>

static volatile sig_atomic_t runs, begins;

/* What returns by itself would hide a call that was made again. */
static const struct timespec an_hour = { 3600, 0 };

static void on_signal(int signal, siginfo_t *info, void *context)
{
    (void)info;
    check_equal(signal, SIGALRM);
    check_equal(((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX], -EINTR);
    runs++;
    struct sigaction save;
    must(sigaction(SIGUSR2, NULL, &save));
    if (save.sa_handler != SIG_DFL)
        must(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR2));
    struct timespec a_little = { 0, 1000000 };
    nanosleep(&a_little, NULL);
}

static void *end_it(void *nothing)
{
    sigset_t all;
    sigfillset(&all);
    check_equal(pthread_sigmask(SIG_BLOCK, &all, NULL), 0);
    while (!begins || thread_state(getpid()) != 'S')
        usleep(1000);
    must(syscall(SYS_tgkill, getpid(), getpid(), SIGALRM));
    return nothing;
}

int main(int argc, char **argv)
{
    const char *call = argc > 1 ? argv[1] : "sigsuspend";
    struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
    sigfillset(&action.sa_mask);
    must(sigaction(SIGALRM, &action, NULL));
    sigset_t none, other;
    sigemptyset(&none);
    sigemptyset(&other);
    sigaddset(&other, SIGRTMIN + 5);
    int ends[2], pair[2], word = 7, epoll = must(epoll_create1(0));
    must(pipe(ends));
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    struct timeval hour = { 3600, 0 };
    must(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &hour, sizeof hour));
    struct epoll_event event = { .events = EPOLLIN };
    must(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event));
    struct sembuf take = { .sem_op = -1 };
    struct timespec timeout = an_hour, until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 3600;
    struct {
        long type;
        char text[8];
    } message;
    char byte;
    int sem = -1, queue = -1;

    /* What a call with a mask of its own waits for is blocked outside of it. */
    if (!strcmp(call, "sigsuspend") || !strcmp(call, "pselect") || !strcmp(call, "ppoll") || !strcmp(call, "epoll_pwait")) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGALRM);
        must(sigprocmask(SIG_BLOCK, &set, NULL));
    }
    if (!strcmp(call, "semop"))
        sem = must(semget(IPC_PRIVATE, 1, 0600));
    if (!strcmp(call, "msgrcv"))
        queue = must(msgget(IPC_PRIVATE, 0600));
    pthread_t thread;
    check_equal(pthread_create(&thread, NULL, end_it, NULL), 0);
    check_equal(pthread_detach(thread), 0);
    long result = 0;
    errno = 0;
    begins = 1;
#define IS(name) (!strcmp(call, name))
    if (IS("sigsuspend"))
        result = sigsuspend(&none);
    else if (IS("pselect"))
        result = pselect(0, NULL, NULL, NULL, NULL, &none);
    else if (IS("ppoll"))
        result = ppoll(NULL, 0, &an_hour, &none);
    else if (IS("epoll_pwait"))
        result = epoll_pwait(epoll, &event, 1, -1, &none);
    else if (IS("pause"))
        result = pause();
    else if (IS("select"))
        result = select(0, NULL, NULL, NULL, &hour);
    else if (IS("poll"))
        result = poll(NULL, 0, 3600000);
    else if (IS("epoll_wait"))
        result = epoll_wait(epoll, &event, 1, -1);
    else if (IS("nanosleep"))
        result = nanosleep(&timeout, NULL);
    else if (IS("clock_nanosleep"))
        result = syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    else if (IS("futex"))
        result = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 7, &timeout, NULL, 0);
    else if (IS("futex_absolute"))
        result = syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 7, &until, NULL, FUTEX_BITSET_MATCH_ANY);
    else if (IS("sigtimedwait"))
        result = sigtimedwait(&other, NULL, &timeout);
    else if (IS("semop"))
        result = semop(sem, &take, 1);
    else if (IS("msgrcv"))
        result = msgrcv(queue, &message, sizeof message.text, 0, 0);
    else if (IS("read"))
        result = read(ends[0], &byte, 1);
    else if (IS("recv"))
        result = recv(pair[0], &byte, 1, 0);
    else
        fail("no call %s", call);
    int error = errno;
    check(result == -1 && error == EINTR && runs == 1, "%s returned %ld, errno %d (%s) after %d signals", call, result, error,
          strerror(error), runs);
    /* A process that is restarted finds that they are gone. */
    if (sem >= 0 && semctl(sem, 0, IPC_RMID))
        check_equal(errno, EINVAL);
    if (queue >= 0 && msgctl(queue, IPC_RMID, NULL))
        check_equal(errno, EINVAL);
    checkpoint_here();
    pass();
}
