/* Signals that were pending at the save are pending afterwards: standard and queued ones, for the process and for the thread, with their
 * values, senders and order. */
#include "victim.h"
#include <signal.h>

static void expect(const sigset_t *set, int signal, int code, int value)
{
    siginfo_t info;
    struct timespec none = { 0, 0 };
    /* Not the one of libc, which turns SI_TKILL into SI_USER. */
    int got = syscall(SYS_rt_sigtimedwait, set, &info, &none, 8);
    check(got == signal, "signal %d instead of %d (%s)", got, signal, strerror(errno));
    check(info.si_code == code, "signal %d: code %d, not %d", signal, info.si_code, code);
    if (code == SI_QUEUE)
        check(info.si_value.sival_int == value, "signal %d: value %d, not %d", signal, info.si_value.sival_int, value);
    check(info.si_uid == getuid(), "signal %d: from user %d", signal, info.si_uid);
    check(info.si_pid == getpid(), "signal %d: from process %d", signal, info.si_pid);
}

int main(void)
{
    sigset_t all, pending, only;
    sigfillset(&all);
    sigdelset(&all, SIGUSR2);
    must(sigprocmask(SIG_SETMASK, &all, NULL));
    pid_t me = getpid();
    must(kill(me, SIGTERM));
    must(sigqueue(me, SIGRTMIN + 2, (union sigval){ .sival_int = 22 }));
    must(sigqueue(me, SIGRTMIN + 2, (union sigval){ .sival_int = 23 }));
    must(sigqueue(me, SIGRTMIN + 1, (union sigval){ .sival_int = 11 }));
    must(sigqueue(me, SIGHUP, (union sigval){ .sival_int = 1 }));
    check_equal(syscall(SYS_tgkill, me, gettid(), SIGUSR1), 0);
    check_equal(syscall(SYS_tgkill, me, gettid(), SIGRTMIN + 4), 0);

    checkpoint_here();
    must(sigpending(&pending));
    static const int expected[] = { SIGTERM, SIGHUP, SIGUSR1 };
    for (int i = 1; i <= 64; i++) {
        int want = i == SIGRTMIN + 1 || i == SIGRTMIN + 2 || i == SIGRTMIN + 4;
        for (unsigned j = 0; j < sizeof expected / sizeof *expected; j++)
            want |= i == expected[j];
        check(sigismember(&pending, i) == want, "signal %d is%s pending", i, want ? " not" : "");
    }
    check_equal(status_field("SigPnd", 16), 1ull << (SIGUSR1 - 1) | 1ull << (SIGRTMIN + 3));
    check_equal(status_field("ShdPnd", 16),
                1ull << (SIGTERM - 1) | 1ull << (SIGHUP - 1) | 1ull << SIGRTMIN | 1ull << (SIGRTMIN + 1));
#define ONLY(signal) (sigemptyset(&only), sigaddset(&only, (signal)), &only)
    expect(ONLY(SIGRTMIN + 2), SIGRTMIN + 2, SI_QUEUE, 22);
    expect(ONLY(SIGRTMIN + 2), SIGRTMIN + 2, SI_QUEUE, 23);
    expect(ONLY(SIGRTMIN + 1), SIGRTMIN + 1, SI_QUEUE, 11);
    expect(ONLY(SIGHUP), SIGHUP, SI_QUEUE, 1);
    expect(ONLY(SIGTERM), SIGTERM, SI_USER, 0);
    expect(ONLY(SIGUSR1), SIGUSR1, SI_TKILL, 0);
    expect(ONLY(SIGRTMIN + 4), SIGRTMIN + 4, SI_TKILL, 0);
    must(sigpending(&pending));
    for (int i = 1; i <= 64; i++)
        check(!sigismember(&pending, i), "signal %d is pending again", i);
    pass();
}
