/* Numbers that happen to be the program's id, in registers that the kernel puts side by side into a signal frame: together they look like a robust mutex.
 * A program keeps its numbers. */
#include "victim.h"

int main(void)
{
    volatile uint64_t *control = map_control(NULL);
    uint64_t before = getpid(), lock, owner;
    say_ready();
    asm volatile(
        "mov %[id], %%r14\n"
        "mov %[id], %%r15\n"
        "mov $0x11, %%edi\n"
        "1: pause\n"
        "cmpq $0, (%[control])\n"
        "je 1b\n"
        "mov %%r14, %[lock]\n"
        "mov %%r15, %[owner]\n"
        : [lock] "=&r"(lock), [owner] "=&r"(owner)
        : [id] "r"(before), [control] "r"(control)
        : "r14", "r15", "rdi", "cc", "memory");
    check_equal(lock, before);
    check_equal(owner, before);
    pass();
}
