/* Signal actions with their flags and masks, the signal mask, and the alternate stack. */
#include "victim.h"
#include <signal.h>
#include <ucontext.h>

static volatile sig_atomic_t last, last_value, on_alternate;
static char alternate[65536];

static void plain(int signal)
{
    last = signal;
}

static void with_info(int signal, siginfo_t *info, void *context)
{
    (void)context;
    char here;
    last = signal;
    last_value = info->si_value.sival_int;
    on_alternate = &here >= alternate && &here < alternate + sizeof alternate;
}

int main(void)
{
    struct sigaction action = { 0 };
    action.sa_handler = plain;
    action.sa_flags = SA_RESTART;
    sigaddset(&action.sa_mask, SIGCHLD);
    sigaddset(&action.sa_mask, SIGRTMIN + 3);
    must(sigaction(SIGUSR1, &action, NULL));
    struct sigaction informed = { 0 };
    informed.sa_sigaction = with_info;
    informed.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    must(sigaction(SIGRTMIN + 1, &informed, NULL));
    struct sigaction once = { 0 };
    once.sa_handler = plain;
    once.sa_flags = SA_RESETHAND;
    must(sigaction(SIGHUP, &once, NULL));
    signal(SIGPIPE, SIG_IGN);
    stack_t stack = { .ss_sp = alternate, .ss_size = sizeof alternate };
    must(sigaltstack(&stack, NULL));
    sigset_t mask, got;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGRTMAX);
    must(sigprocmask(SIG_SETMASK, &mask, NULL));

    checkpoint_here();
    must(sigprocmask(SIG_SETMASK, NULL, &got));
    for (int i = 1; i <= 64; i++)
        check(sigismember(&mask, i) == sigismember(&got, i), "signal %d in the mask", i);
    struct sigaction now;
    must(sigaction(SIGUSR1, NULL, &now));
    check(now.sa_handler == plain && (now.sa_flags & ~0x04000000) == SA_RESTART, "SIGUSR1: flags %#x", now.sa_flags);
    check(sigismember(&now.sa_mask, SIGCHLD) && sigismember(&now.sa_mask, SIGRTMIN + 3) && !sigismember(&now.sa_mask, SIGHUP),
          "SIGUSR1: mask");
    must(sigaction(SIGPIPE, NULL, &now));
    check(now.sa_handler == SIG_IGN, "SIGPIPE");
    must(sigaction(SIGTERM, NULL, &now));
    check(now.sa_handler == SIG_DFL, "SIGTERM");
    stack_t kept;
    must(sigaltstack(NULL, &kept));
    check(kept.ss_sp == alternate && kept.ss_size == sizeof alternate && kept.ss_flags == 0, "alternate stack");

    raise(SIGUSR1);
    check_equal(last, SIGUSR1);
    must(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){ .sival_int = 4711 }));
    check(last == SIGRTMIN + 1 && last_value == 4711, "queued signal: %d with %d", last, last_value);
    check(on_alternate, "the handler did not run on the alternate stack");
    raise(SIGHUP);
    check_equal(last, SIGHUP);
    must(sigaction(SIGHUP, NULL, &now));
    check(now.sa_handler == SIG_DFL, "SA_RESETHAND");
    last = 0;
    raise(SIGTERM); /* blocked: stays pending */
    check_equal(last, 0);
    pass();
}
