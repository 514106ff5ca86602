/* What madvise and mlock have said about memory, as smaps shows it. */
#include "pattern.h"
#include <sys/wait.h>

struct kind {
    int advice;
    const char *flag;
    const char *name;
} kinds[] = {
    { MADV_WIPEONFORK, " wf", "WIPEONFORK" }, { MADV_DONTFORK, " dc", "DONTFORK" },     { MADV_DONTDUMP, " dd", "DONTDUMP" },
    { MADV_NOHUGEPAGE, " nh", "NOHUGEPAGE" }, { MADV_HUGEPAGE, " hg", "HUGEPAGE" },     { MADV_MERGEABLE, " mg", "MERGEABLE" },
    { MADV_SEQUENTIAL, " sr", "SEQUENTIAL" }, { MADV_RANDOM, " rr", "RANDOM" },
};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* The VmFlags of the region at an address, each with a blank before it. */
static const char *flags_at(const void *where)
{
    static char line[4600];
    FILE *smaps = fopen("/proc/self/smaps", "r");
    unsigned long start, end;
    int here = 0;
    while (fgets(line, sizeof line, smaps)) {
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            here = (unsigned long)where >= start && (unsigned long)where < end;
        if (here && !strncmp(line, "VmFlags:", 8))
            break;
    }
    fclose(smaps);
    return line;
}

int main(void)
{
    char *areas[KINDS];
    int had[KINDS];
    for (int i = 0; i < KINDS; i++) {
        map_anywhere(PAGE, PROT_NONE); /* keeps the areas apart */
        areas[i] = map_anywhere(4 * PAGE, PROT_READ | PROT_WRITE);
        fill(areas[i] + PAGE);
        had[i] = madvise(areas[i], 4 * PAGE, kinds[i].advice) == 0;
        if (had[i])
            check(strstr(flags_at(areas[i]), kinds[i].flag), "%s before the save: %s", kinds[i].name, flags_at(areas[i]));
    }
    check(had[0] && had[1] && had[2], "madvise");
    map_anywhere(PAGE, PROT_NONE);
    char *locked = map_anywhere(4 * PAGE, PROT_READ | PROT_WRITE);
    must(mlock(locked, 4 * PAGE));
    fill(locked);
    map_anywhere(PAGE, PROT_NONE);
    char *on_fault = map_anywhere(4 * PAGE, PROT_READ | PROT_WRITE);
    must(mlock2(on_fault, 4 * PAGE, MLOCK_ONFAULT));
    unsigned long long size = status_field("VmLck", 10);

    checkpoint_here();
    for (int i = 0; i < KINDS; i++) {
        if (kinds[i].advice == MADV_WIPEONFORK && was_restarted())
            verify_zero(areas[i] + PAGE);
        else
            verify(areas[i] + PAGE);
        if (had[i])
            check(strstr(flags_at(areas[i]), kinds[i].flag), "%s: %s", kinds[i].name, flags_at(areas[i]));
    }
    check(strstr(flags_at(locked), " lo"), "mlock: %s", flags_at(locked));
    check(strstr(flags_at(on_fault), " lf"), "mlock2: %s", flags_at(on_fault));
    check_equal(status_field("VmLck", 10), size);
    pid_t child = must(fork());
    if (child == 0) {
        verify_zero(areas[0] + PAGE);
        check_equal(msync(areas[1], PAGE, MS_ASYNC), -1); /* not mapped here */
        _exit(0);
    }
    int status;
    must(waitpid(child, &status, 0));
    check_equal(status, 0);
    pass();
}
