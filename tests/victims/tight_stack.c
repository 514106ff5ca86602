/* An alternate stack into which the frame of the checkpoint signal fits, and nothing else. What is below it belongs to the program. */
#include "victim.h"
#include <signal.h>
#include <ucontext.h>

static char *area;
static size_t frame_size;

/* Where the frame begins is where the handler was called: the word with the return address, just before the ucontext. */
static void measure(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    stack_t now;
    must(sigaltstack(NULL, &now));
    frame_size = (char *)now.ss_sp + now.ss_size - ((char *)context - 8);
    frame_size += 1; /* the kernel wants it to begin above the end of the stack, not at it */
}

int main(void)
{
    size_t size = 16 * PAGE;
    volatile uint64_t *control = map_control(NULL);
    area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(area != MAP_FAILED, "mmap");
    stack_t stack = { .ss_sp = area, .ss_size = size };
    must(sigaltstack(&stack, NULL));
    struct sigaction action = { .sa_sigaction = measure, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    must(sigaction(SIGUSR1, &action, NULL));
    must(raise(SIGUSR1));
    stack.ss_sp = area + size - frame_size;
    stack.ss_size = frame_size;
    must(sigaltstack(&stack, NULL));
    memset(area, 0xa5, size - frame_size);
    say_ready();
    while (!*control)
        ;
    for (size_t i = 0; i < size - frame_size; i++)
        check(area[i] == (char)0xa5, "%zu bytes below the stack of %zu were written", size - frame_size - i, frame_size);
    stack_t now;
    must(sigaltstack(NULL, &now));
    check(now.ss_sp == stack.ss_sp && now.ss_size == frame_size && !now.ss_flags, "the alternate stack");
    pass();
}
