/* Memory at the lowest address there is, and at 0x400000, where programs that are not position-independent begin. */
#include "pattern.h"

int main(void)
{
    const uint64_t low = 0x10000;
    map_at(low, 64 * PAGE, PROT_READ | PROT_WRITE);
    map_at(0x400000, 1024 * PAGE, PROT_READ | PROT_WRITE);
    map_at(0x1000000, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
    for (int i = 0; i < 64; i++)
        fill((char *)low + i * PAGE);
    for (int i = 0; i < 1024; i++)
        fill((char *)0x400000 + i * PAGE);
    fill((void *)0x1000000);
    checkpoint_here();
    for (int i = 0; i < 64; i++)
        verify((char *)low + i * PAGE);
    for (int i = 0; i < 1024; i++)
        verify((char *)0x400000 + i * PAGE);
    verify((void *)0x1000000);
    pass();
}
