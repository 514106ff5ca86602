/* A handler of the program stands before libckpt's and calls it, in the way that the argument names: as a handler with one argument, with three, by a jump,
 * from another stack, twice, with a context of its own making, or in a thread while others are saved. The save is made, and after it, or after a restart, the
 * handler goes on as any caller does.
 * build: gcc -O2 -pthread */
#include "victim.h"
#include <pthread.h>
#include <signal.h>
#include <ucontext.h>

struct sigaction theirs;
static const char *how;
volatile sig_atomic_t calls;
static volatile sig_atomic_t returns;
static char other_stack[65536] __attribute__((aligned(16)));

/* Calls with all registers set that a callee keeps, and looks at them. */
__attribute__((noinline)) static void call(void *function, int signal, void *info, void *context)
{
    calls++;
    unsigned usual = __builtin_ia32_stmxcsr(), upward = usual | 0x4000;
    __builtin_ia32_ldmxcsr(upward);
    sigset_t before, after;
    must(sigprocmask(SIG_SETMASK, NULL, &before));
    uint64_t wrong;
    __asm__ volatile("push %%rbp\n"
                     "mov $0x1111, %%ebx\n mov $0x2222, %%r12d\n mov $0x3333, %%r13d\n mov $0x4444, %%r14d\n mov $0x5555, %%r15d\n"
                     "mov %%rsp, %%rbp\n and $-16, %%rsp\n"
                     "call *%%rax\n"
                     "mov %%rbp, %%rsp\n"
                     "xor $0x1111, %%ebx\n xor $0x2222, %%r12d\n xor $0x3333, %%r13d\n xor $0x4444, %%r14d\n xor $0x5555, %%r15d\n"
                     "mov %%ebx, %%eax\n or %%r12d, %%eax\n or %%r13d, %%eax\n or %%r14d, %%eax\n or %%r15d, %%eax\n"
                     "pop %%rbp"
                     : "=a"(wrong), "+D"(signal), "+S"(info), "+d"(context)
                     : "a"(function)
                     : "rbx", "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
    check_equal(wrong, 0);
    check_equal(__builtin_ia32_stmxcsr() & ~63, upward & ~63);
    __builtin_ia32_ldmxcsr(usual);
    must(sigprocmask(SIG_SETMASK, NULL, &after));
    check(!memcmp(&before, &after, 8), "the signal mask is another one");
    returns++;
}

static void *arguments[3];
static void run(void)
{
    call(arguments[0], SIGUSR2, arguments[1], arguments[2]);
}

static void on_other_stack(void *function, void *info, void *context)
{
    static ucontext_t here, there;
    arguments[0] = function, arguments[1] = info, arguments[2] = context;
    must(getcontext(&there));
    there.uc_stack.ss_sp = other_stack;
    there.uc_stack.ss_size = sizeof other_stack;
    there.uc_link = &here;
    makecontext(&there, run, 0);
    must(swapcontext(&here, &there));
}

static void mine(int signal, siginfo_t *info, void *context)
{
    check_equal(signal, SIGUSR2);
    void *function = (void *)theirs.sa_sigaction;
    if (!strcmp(how, "one"))
        call(function, signal, (void *)0x10, (void *)0x18);
    else if (!strcmp(how, "stack"))
        on_other_stack(function, info, context);
    else if (!strcmp(how, "made_up")) {
        ucontext_t made_up = *(ucontext_t *)context;
        siginfo_t copy = *info;
        call(function, signal, &copy, &made_up);
        check(!memcmp(&copy, info, sizeof copy), "the siginfo is another one");
    } else if (!strcmp(how, "twice")) {
        call(function, signal, info, context);
        call(function, signal, info, context);
    } else
        call(function, signal, info, context);
}

/* A jump: on the kernel's frame, but with the mask and the restorer of another action. */
__attribute__((naked)) static void jump(__attribute__((unused)) int signal, __attribute__((unused)) siginfo_t *info, __attribute__((unused)) void *context)
{
    __asm__("incl calls(%rip)\n jmp *theirs(%rip)");
}

static volatile int stop;
static void *turn(void *nothing)
{
    while (!stop)
        usleep(1000);
    return nothing;
}

int main(int argc, char **argv)
{
    how = argc > 1 ? argv[1] : "three";
    pthread_t threads[3];
    int count = strcmp(how, "threads") ? 0 : 3;
    struct sigaction action = { .sa_flags = SA_SIGINFO };
    sigaddset(&action.sa_mask, SIGUSR1);
    if (!strcmp(how, "jump"))
        action.sa_sigaction = jump;
    else
        action.sa_sigaction = mine;
    must(sigaction(SIGUSR2, &action, &theirs));
    if (theirs.sa_handler == SIG_DFL) {
        must(sigaction(SIGUSR2, &theirs, NULL));
        calls = returns = 1;
    }
    for (int i = 0; i < count; i++)
        check_equal(pthread_create(&threads[i], NULL, turn, NULL), 0);
    checkpoint_here();
    check(calls > 0, "the handler was not called");
    if (strcmp(how, "jump"))
        check_equal(calls, returns);
    for (int i = 1; i <= 64; i++) {
        struct sigaction now;
        if (i == 32 || i == 33 || sigaction(i, NULL, &now))
            continue;
        check(now.sa_handler == (i == SIGUSR2 && theirs.sa_handler != SIG_DFL ? action.sa_handler : SIG_DFL), "signal %d has another action", i);
    }
    sigset_t mask;
    must(sigprocmask(SIG_SETMASK, NULL, &mask));
    for (int i = 1; i <= 64; i++)
        check(!sigismember(&mask, i), "signal %d is blocked", i);
    stop = 1;
    for (int i = 0; i < count; i++)
        check_equal(pthread_join(threads[i], NULL), 0);
    pass();
}
