/* Saved inside its own signal handler, which runs on an alternate stack of the smallest size, inside another handler. */
#include "victim.h"
#include <signal.h>
#include <sys/auxv.h>
#include <ucontext.h>

static char *stack;
static size_t stack_size;
static volatile int inner_done, outer_done;
static uint64_t before;

static void inner(int signal)
{
    check_equal(signal, SIGUSR1);
    char here;
    check(&here >= stack && &here < stack + stack_size, "not on the alternate stack");
    stack_t now;
    must(sigaltstack(NULL, &now));
    check(now.ss_flags & SS_ONSTACK, "SS_ONSTACK");
    /* Without library functions of any depth: there is little room. */
    if (syscall(SYS_write, 1, "ready\n", 6) != 6)
        _exit(9);
    volatile uint64_t *control = (void *)before;
    while (!*control)
        ;
    inner_done = 1;
}

static void outer(int signal, siginfo_t *info, void *context)
{
    (void)context;
    check_equal(signal, SIGRTMIN + 1);
    check_equal(info->si_value.sival_int, 99);
    raise(SIGUSR1);
    check(inner_done, "inner");
    outer_done = 1;
}

int main(void)
{
    before = (uint64_t)map_control(NULL);
    size_t frame = getauxval(AT_MINSIGSTKSZ);
    stack_size = 2 * (frame ? frame : 2048) + 1024; /* one frame of the handler, one of the save, and what they call */
    size_t size = (stack_size / PAGE + 2) * PAGE; /* a page and more below the stack shows what was written there */
    char *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(area != MAP_FAILED, "mmap");
    stack = area + size - stack_size;
    memset(area, 0xa5, size - stack_size);
    stack_t alternate = { .ss_sp = stack, .ss_size = stack_size };
    must(sigaltstack(&alternate, NULL));
    struct sigaction action = { .sa_handler = inner, .sa_flags = SA_ONSTACK };
    must(sigaction(SIGUSR1, &action, NULL));
    struct sigaction first = { .sa_sigaction = outer, .sa_flags = SA_SIGINFO };
    must(sigaction(SIGRTMIN + 1, &first, NULL));
    must(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){ .sival_int = 99 }));
    check(outer_done, "outer");
    for (char *p = area; p < stack; p++)
        check(*p == (char)0xa5, "%ld bytes below the alternate stack were written", stack - p);
    sigset_t mask;
    must(sigprocmask(SIG_SETMASK, NULL, &mask));
    for (int i = 1; i <= 64; i++)
        check(!sigismember(&mask, i), "signal %d is blocked", i);
    pass();
}
