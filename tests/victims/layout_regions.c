/* 20,000 regions, each of one page, with one of three protections, so that none merges with its neighbour. */
#include "pattern.h"

int main(void)
{
    enum { COUNT = 20000 };
    static const int prots[] = { PROT_READ | PROT_WRITE, PROT_READ, PROT_READ | PROT_EXEC };
    char *area = map_anywhere(COUNT * PAGE, PROT_READ | PROT_WRITE);
    for (int i = 0; i < COUNT; i++) {
        fill(area + i * PAGE);
        must(mprotect(area + i * PAGE, PAGE, prots[i % 3]));
    }
    checkpoint_here();
    for (int i = 0; i < COUNT; i++)
        verify(area + i * PAGE);
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[4600];
    int seen = 0;
    while (fgets(line, sizeof line, maps)) {
        uint64_t start, end;
        char prot[8];
        sscanf(line, "%lx-%lx %7s", &start, &end, prot);
        if (start < (uint64_t)area || start >= (uint64_t)area + COUNT * PAGE)
            continue;
        static const char *want[] = { "rw-p", "r--p", "r-xp" };
        check(!strcmp(prot, want[(start - (uint64_t)area) / PAGE % 3]), "%s", line);
        seen++;
    }
    check(seen >= COUNT - 1, "%d regions", seen);
    pass();
}
