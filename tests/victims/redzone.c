/* The 128 bytes below the stack pointer belong to leaf functions: a handler on the same stack must not touch them. */
#include "victim.h"

__attribute__((aligned(4096))) volatile uint64_t control[512];
uint64_t wrong;

/* Fills the red zone, waits for control[0] without moving rsp, and counts the words that changed. */
__asm__(
    ".text\n"
    ".globl leaf\n"
    "leaf:\n"
    "  mov $0x5a5a0001, %eax\n"
    "  mov $16, %ecx\n"
    "1: mov %rcx, %rdx\n"
    "  neg %rdx\n"
    "  lea (%rax,%rcx), %rsi\n"
    "  mov %rsi, (%rsp,%rdx,8)\n"
    "  dec %ecx\n"
    "  jnz 1b\n"
    "2: cmpq $0, control(%rip)\n"
    "  je 2b\n"
    "  xor %edi, %edi\n"
    "  mov $16, %ecx\n"
    "3: mov %rcx, %rdx\n"
    "  neg %rdx\n"
    "  lea (%rax,%rcx), %rsi\n"
    "  cmp %rsi, (%rsp,%rdx,8)\n"
    "  je 4f\n"
    "  inc %rdi\n"
    "4: dec %ecx\n"
    "  jnz 3b\n"
    "  mov %rdi, wrong(%rip)\n"
    "  ret\n"
);
void leaf(void);

int main(void)
{
    map_control((void *)control);
    say_ready();
    leaf();
    check_equal(wrong, 0);
    pass();
}
