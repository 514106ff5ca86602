/* The stack still grows after a restart: far below what was touched at the save, up to the limit. */
#include "victim.h"
#include <sys/resource.h>

/* Not a tail call, and a frame that the compiler cannot remove. */
__attribute__((noinline)) static unsigned deep(unsigned n)
{
    volatile char frame[1000];
    for (unsigned i = 0; i < sizeof frame; i += 100)
        frame[i] = (char)n;
    unsigned below = n ? deep(n - 1) : 0;
    return below + (frame[n % 10 * 100] == (char)n);
}

int main(void)
{
    check_equal(deep(50), 51);
    checkpoint_here();
    struct rlimit limit;
    must(getrlimit(RLIMIT_STACK, &limit));
    check(limit.rlim_cur > 6 << 20, "stack limit %lu", limit.rlim_cur);
    check_equal(deep(5000), 5001); /* more than 5 MiB of the usual 8 */
    pass();
}
