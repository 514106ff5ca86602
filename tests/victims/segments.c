/* Every second page of one region is touched: more than 65,534 runs of pages. */
#include "pattern.h"

int main(void)
{
    enum { RUNS = 66000 };
    char *area = map_anywhere(2ul * RUNS * PAGE, PROT_READ | PROT_WRITE);
    must(madvise(area, 2ul * RUNS * PAGE, MADV_NOHUGEPAGE));
    for (uint64_t i = 0; i < RUNS; i++)
        fill(area + 2 * i * PAGE);
    checkpoint_here();
    for (uint64_t i = 0; i < RUNS; i++) {
        verify(area + 2 * i * PAGE);
        verify_zero(area + (2 * i + 1) * PAGE);
    }
    pass();
}
