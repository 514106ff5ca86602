/* The heap: brk goes on where it was, sbrk and malloc work, and what was in it is still there. */
#include "victim.h"

int main(void)
{
    char *block[100];
    for (int i = 0; i < 100; i++) {
        block[i] = malloc(3000);
        memset(block[i], i, 3000);
    }
    char *before = sbrk(0);
    char *grown = sbrk(100000);
    check(grown == before, "sbrk");
    memset(grown, 'x', 100000);
    char *end = sbrk(0);

    checkpoint_here();
    check(sbrk(0) == end, "the break is at %p, not %p", sbrk(0), (void *)end);
    for (int i = 0; i < 100000; i++)
        check_equal(grown[i], 'x');
    char *more = sbrk(1 << 20);
    check(more == end, "sbrk gave %p, not %p", (void *)more, (void *)end);
    memset(more, 'y', 1 << 20);
    check(sbrk(-(1 << 20)) != (void *)-1, "the break does not go down");
    for (int i = 0; i < 100; i++) {
        for (int j = 0; j < 3000; j++)
            check_equal(block[i][j], i);
        free(block[i]);
    }
    check(malloc(64 << 20), "malloc");
    pass();
}
