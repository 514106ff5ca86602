/* Pages that were never touched, or hold zeros, take no space; they come back zero and writable. The harness looks at the image's length. */
#include "pattern.h"

int main(void)
{
    const uint64_t size = 256 << 20;
    char *untouched = map_anywhere(size, PROT_READ | PROT_WRITE);
    char *zeroed = map_anywhere(size, PROT_READ | PROT_WRITE);
    char *read_only = map_anywhere(size, PROT_READ | PROT_WRITE);
    memset(zeroed, 1, size);
    memset(zeroed, 0, size);
    for (uint64_t at = 0; at < size; at += PAGE)
        check_equal(((volatile char *)read_only)[at], 0); /* maps the zero page */
    fill(zeroed + 100 * PAGE);
    checkpoint_here();
    for (uint64_t at = 0; at < size; at += 64 * PAGE) {
        verify_zero(untouched + at);
        verify_zero(read_only + at);
        if (at != 100 * PAGE)
            verify_zero(zeroed + at);
        fill(untouched + at);
        fill(read_only + at);
    }
    verify(zeroed + 100 * PAGE);
    pass();
}
