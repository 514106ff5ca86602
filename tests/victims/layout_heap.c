/* A program that is not position-independent: its heap begins low and grows over everything up to 2 GiB. */
/* build: gcc -O2 -no-pie -fno-pie */
#include "pattern.h"

int main(void)
{
    check((uint64_t)main < 0x1000000, "main is at %p", (void *)main);
    char *start = sbrk(0);
    const uint64_t size = 2ul << 30, step = 16 << 20;
    check(sbrk(size) == start, "sbrk: %s", strerror(errno));
    char *first = (char *)(((uint64_t)start + PAGE - 1) & -PAGE);
    for (uint64_t at = 0; at + PAGE < size - PAGE; at += step)
        fill(first + at);
    checkpoint_here();
    check(sbrk(0) == start + size, "the break is %p", sbrk(0));
    for (uint64_t at = 0; at + PAGE < size - PAGE; at += step) {
        verify(first + at);
        verify_zero(first + at + PAGE);
    }
    check(sbrk(1 << 20) == start + size, "sbrk afterwards");
    memset(start + size, 1, 1 << 20);
    pass();
}
