/* Memory wherever a fresh process gets its stack, vdso and libraries: every gap above 0x7e0000000000 is taken. */
#include "pattern.h"

#define MAX 4096
static uint64_t gap_start[MAX], gap_end[MAX];

int main(void)
{
    const uint64_t bottom = 0x7e0000000000, top = 0x7ffffffff000;
    unsigned gaps = 0;
    char line[4600];
    FILE *maps = fopen("/proc/self/maps", "r");
    check(maps, "maps");
    uint64_t at = bottom, start, end;
    setvbuf(maps, NULL, _IOFBF, 1 << 16);
    while (fgets(line, sizeof line, maps)) {
        sscanf(line, "%lx-%lx", &start, &end);
        int stack = strstr(line, "[stack]") != NULL;
        /* The stack stays free to grow by 16 MiB. */
        uint64_t below = stack ? start - (16 << 20) : start;
        if (start < bottom || start > top)
            continue;
        if (below > at && gaps < MAX) {
            gap_start[gaps] = at;
            gap_end[gaps++] = below;
        }
        at = end;
    }
    fclose(maps);
    gap_start[gaps] = at;
    gap_end[gaps++] = top;
    for (unsigned i = 0; i < gaps; i++) {
        map_at(gap_start[i], gap_end[i] - gap_start[i], PROT_READ | PROT_WRITE);
        fill((void *)gap_start[i]);
        fill((void *)(gap_end[i] - PAGE));
    }
    check(mmap((void *)0x7ffff7fff000, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED,
          "a gap is left");
    checkpoint_here();
    for (unsigned i = 0; i < gaps; i++) {
        verify((void *)gap_start[i]);
        verify((void *)(gap_end[i] - PAGE));
    }
    pass();
}
