/* Pages that cannot be read keep their contents; pages of each protection keep it; a growing stack of its own; guard pages. */
#include "fault.h"
#include "pattern.h"

int main(void)
{
    char *hidden = map_anywhere(8 * PAGE, PROT_READ | PROT_WRITE);
    for (int i = 0; i < 8; i++)
        fill(hidden + i * PAGE);
    must(mprotect(hidden + 2 * PAGE, 4 * PAGE, PROT_NONE));
    char *write_only = map_anywhere(PAGE, PROT_READ | PROT_WRITE);
    fill(write_only);
    must(mprotect(write_only, PAGE, PROT_WRITE));
    char *guarded = map_anywhere(8 * PAGE, PROT_READ | PROT_WRITE);
    fill(guarded);
    fill(guarded + 7 * PAGE);
    int guards = madvise(guarded + 2 * PAGE, 3 * PAGE, MADV_GUARD_INSTALL) == 0;
    char *growing = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0);
    check(growing != MAP_FAILED, "MAP_GROWSDOWN");
    fill(growing);

    checkpoint_here();
    check(fault_at(hidden + 2 * PAGE) && fault_at(hidden + 5 * PAGE), "a hidden page can be read");
    must(mprotect(hidden + 2 * PAGE, 4 * PAGE, PROT_READ));
    for (int i = 0; i < 8; i++)
        verify(hidden + i * PAGE);
    check(strstr(maps_line_at(write_only), "-w-p"), "%s", maps_line_at(write_only));
    verify(write_only); /* x86 lets one read what one may write */
    if (guards) {
        check(fault_at(guarded + 2 * PAGE) && fault_at(guarded + 4 * PAGE), "a guard page can be read");
        check(!fault_at(guarded + PAGE) && !fault_at(guarded + 5 * PAGE), "a guard page too many");
    }
    verify(guarded);
    verify(guarded + 7 * PAGE);
    verify(growing);
    FILE *smaps = fopen("/proc/self/smaps", "r");
    char line[4600];
    unsigned long start, end;
    int here = 0, found = 0;
    while (fgets(line, sizeof line, smaps)) {
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            here = (unsigned long)growing >= start && (unsigned long)growing < end;
        if (here && !strncmp(line, "VmFlags:", 8))
            found = strstr(line, " gd") != NULL;
    }
    check(found, "the growing region does not grow any more");
    pass();
}
