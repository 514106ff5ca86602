/* A reservation of 64 GiB of which a few pages are used, as language runtimes and sanitizers make them. */
#include "pattern.h"

int main(void)
{
    const uint64_t size = 64ul << 30, step = 4ul << 30;
    char *readable = map_anywhere(size, PROT_READ | PROT_WRITE);
    char *reserved = map_anywhere(size, PROT_NONE);
    for (uint64_t at = 0; at < size; at += step)
        fill(readable + at + PAGE);
    must(mprotect(reserved + step, 16 * PAGE, PROT_READ | PROT_WRITE));
    fill(reserved + step + 3 * PAGE);
    checkpoint_here();
    for (uint64_t at = 0; at < size; at += step) {
        verify_zero(readable + at);
        verify(readable + at + PAGE);
        verify_zero(readable + at + 2 * PAGE);
    }
    verify(reserved + step + 3 * PAGE);
    verify_zero(reserved + step);
    must(mprotect(reserved + 2 * step, PAGE, PROT_READ | PROT_WRITE));
    verify_zero(reserved + 2 * step);
    pass();
}
