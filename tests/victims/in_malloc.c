/* Saved inside malloc and free, which is where this program always is: no lock of the allocator is taken, and its state is the one that was saved. */
#include "victim.h"

#define SLOTS 512

int main(void)
{
    volatile uint64_t *control = map_control(NULL);
    static unsigned char *slots[SLOTS];
    static size_t sizes[SLOTS];
    uint64_t random = 88172645463325252u;
    say_ready();
    while (!*control) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        size_t i = random % SLOTS;
        if (slots[i]) {
            for (size_t at = 0; at < sizes[i]; at += 97)
                check(slots[i][at] == (unsigned char)(i + at), "slot %zu, byte %zu", i, at);
            free(slots[i]);
            slots[i] = NULL;
        } else {
            /* Some of them are mappings of their own. */
            sizes[i] = random >> 40 & 63 ? random >> 32 & 2047 : 200000;
            slots[i] = malloc(sizes[i]);
            check(slots[i], "malloc");
            for (size_t at = 0; at < sizes[i]; at += 97)
                slots[i][at] = i + at;
        }
    }
    pass();
}
