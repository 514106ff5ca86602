/* Memory that borders on whatever is mapped next: a mapping made during a save merges with it, and must not take it along. */
#include "pattern.h"

int main(void)
{
    /* The kernel places new mappings below the last ones, so fill the holes between the libraries first. */
    enum { SMALL = 600, LARGE = 64 << 20 };
    char *small[SMALL];
    for (int i = 0; i < SMALL; i++) {
        small[i] = map_anywhere((i % 7 + 1) * PAGE, PROT_READ | PROT_WRITE);
        fill(small[i]);
    }
    char *large = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(large != MAP_FAILED, "mmap");
    for (char *page = large; page < large + LARGE; page += 16 * PAGE)
        fill(page);
    char *after = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fill(after);
    checkpoint_here();
    for (int i = 0; i < SMALL; i++)
        verify(small[i]);
    for (char *page = large; page < large + LARGE; page += 16 * PAGE) {
        verify(page);
        verify_zero(page + PAGE);
    }
    verify(after);
    pass();
}
