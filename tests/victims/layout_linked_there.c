/* A program that is linked where the restarter is. */
/* build: gcc -O2 -no-pie -fno-pie -Wl,-Ttext-segment=0x5000000 */
#include "pattern.h"

int main(void)
{
    check((uint64_t)main >= 0x5000000 && (uint64_t)main < 0x5100000, "main is at %p", (void *)main);
    static char data[3 * PAGE];
    memset(data, 7, sizeof data);
    checkpoint_here();
    for (unsigned i = 0; i < sizeof data; i++)
        check_equal(data[i], 7);
    pass();
}
