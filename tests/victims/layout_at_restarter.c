/* Memory where the restarter is linked (0x5000000), and around it. */
#include "pattern.h"

int main(void)
{
    const uint64_t start = 0x4000000, end = 0x7000000;
    map_at(start, end - start, PROT_READ | PROT_WRITE);
    for (uint64_t page = 0x4ff0000; page < 0x5100000; page += PAGE)
        fill((void *)page);
    fill((void *)start);
    fill((void *)(end - PAGE));
    checkpoint_here();
    for (uint64_t page = 0x4ff0000; page < 0x5100000; page += PAGE)
        verify((void *)page);
    verify((void *)start);
    verify((void *)(end - PAGE));
    verify_zero((void *)(start + PAGE));
    pass();
}
