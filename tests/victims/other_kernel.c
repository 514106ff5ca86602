/* The functions of the vdso, called at the addresses that they had: they answer as the system calls do, whatever kernel is there now. */
#include "victim.h"
#include <elf.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/time.h>

/* The address of a function of the vdso. */
static void *find(const char *name)
{
    const char *vdso = (const char *)getauxval(AT_SYSINFO_EHDR);
    check(vdso, "no vdso");
    const Elf64_Ehdr *elf = (const void *)vdso;
    const Elf64_Phdr *segments = (const void *)(vdso + elf->e_phoff);
    const Elf64_Sym *symbols = NULL;
    const char *strings = NULL;
    for (int i = 0; i < elf->e_phnum; i++) {
        if (segments[i].p_type != PT_DYNAMIC)
            continue;
        for (const Elf64_Dyn *entry = (const void *)(vdso + segments[i].p_offset); entry->d_tag != DT_NULL; entry++) {
            if (entry->d_tag == DT_SYMTAB)
                symbols = (const void *)(vdso + entry->d_un.d_val);
            if (entry->d_tag == DT_STRTAB)
                strings = vdso + entry->d_un.d_val;
        }
    }
    check(symbols && strings, "no symbols in the vdso");
    for (const Elf64_Sym *symbol = symbols; (const char *)symbol < strings; symbol++)
        if (!strcmp(strings + symbol->st_name, name))
            return (void *)(vdso + symbol->st_value);
    return NULL;
}

static long long ns(struct timespec t)
{
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(void)
{
    int (*clock_gettime_)(clockid_t, struct timespec *) = find("__vdso_clock_gettime");
    int (*clock_getres_)(clockid_t, struct timespec *) = find("__vdso_clock_getres");
    int (*gettimeofday_)(struct timeval *, struct timezone *) = find("__vdso_gettimeofday");
    time_t (*time_)(time_t *) = find("__vdso_time");
    int (*getcpu_)(unsigned *, unsigned *, void *) = find("__vdso_getcpu");
    ssize_t (*getrandom_)(void *, size_t, unsigned, void *, size_t) = find("__vdso_getrandom");
    check(clock_gettime_ && clock_getres_ && gettimeofday_ && time_ && getcpu_, "a function is missing");

    checkpoint_here();
    for (clockid_t clock = 0; clock <= CLOCK_BOOTTIME; clock++) {
        struct timespec before, now, after;
        check_equal(syscall(SYS_clock_gettime, clock, &before), 0);
        check_equal(clock_gettime_(clock, &now), 0);
        check_equal(syscall(SYS_clock_gettime, clock, &after), 0);
        check(ns(before) <= ns(now) && ns(now) <= ns(after), "clock %d: %lld is not between %lld and %lld", clock, ns(now), ns(before), ns(after));
        check_equal(syscall(SYS_clock_getres, clock, &before), 0);
        check_equal(clock_getres_(clock, &now), 0);
        check_equal(ns(now), ns(before));
    }
    struct timespec now;
    check(clock_gettime_(99, &now) != 0, "a clock that does not exist");
    struct timeval tv;
    struct timezone zone;
    check_equal(gettimeofday_(&tv, &zone), 0);
    time_t second = 0, also = time_(&second);
    /* time(2) may be a tick behind. */
    check(second == also && labs(also - tv.tv_sec) <= 1, "time %ld, gettimeofday %ld", (long)also, (long)tv.tv_sec);
    check(labs(time(NULL) - also) <= 1, "the libc's time");
    unsigned cpu = -1, node = -1;
    cpu_set_t one;
    must(sched_getaffinity(0, sizeof one, &one));
    for (int i = 0; i < CPU_SETSIZE; i++) {
        cpu_set_t only;
        if (!CPU_ISSET(i, &one))
            continue;
        CPU_ZERO(&only);
        CPU_SET(i, &only);
        must(sched_setaffinity(0, sizeof only, &only));
        check_equal(getcpu_(&cpu, &node, NULL), 0);
        check_equal(cpu, i);
        check_equal(sched_getcpu(), i);
    }
    if (getrandom_) {
        unsigned char first[32] = { 0 }, second[32] = { 0 };
        check_equal(getrandom_(first, 32, 0, NULL, 0), 32);
        check_equal(getrandom_(second, 32, 0, NULL, 0), 32);
        check(memcmp(first, second, 32), "getrandom gives the same twice");
    }
    pass();
}
