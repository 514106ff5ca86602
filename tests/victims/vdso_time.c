/* Time through the vdso: right, forward, at the old address, and without a system call. */
#include "victim.h"
#include <sys/auxv.h>
#include <sys/time.h>

static long long ns(struct timespec t)
{
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* The same clock by a system call proper. */
static long long by_call(clockid_t clock)
{
    struct timespec t;
    check_equal(syscall(SYS_clock_gettime, clock, &t), 0);
    return ns(t);
}

static long long by_vdso(clockid_t clock)
{
    struct timespec t;
    must(clock_gettime(clock, &t));
    return ns(t);
}

int main(void)
{
    static const clockid_t clocks[] = { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_REALTIME_COARSE };
    unsigned long vdso = getauxval(AT_SYSINFO_EHDR);
    long long before = by_vdso(CLOCK_MONOTONIC), wall = by_vdso(CLOCK_REALTIME);
    checkpoint_here();
    check_equal(getauxval(AT_SYSINFO_EHDR), vdso);
    check(!memcmp((void *)vdso, "\177ELF", 4), "no ELF header at the vdso's address");
    check(strstr(maps_line_at((void *)vdso), "[vdso]"), "no vdso at %lx", vdso);
    for (int i = 0; i < 4; i++) {
        long long call = by_call(clocks[i]), now = by_vdso(clocks[i]), then = by_call(clocks[i]);
        check(now + 10000000 >= call && now <= then + 10000000, "clock %d: vdso %lld, calls %lld %lld", clocks[i], now, call,
              then);
    }
    long long passed = by_vdso(CLOCK_MONOTONIC) - before;
    check(passed > 0 && passed < 120000000000LL, "time jumped by %lld ns", passed);
    long long walled = by_vdso(CLOCK_REALTIME) - wall;
    check(walled > 0 && walled < 120000000000LL, "the wall clock jumped by %lld ns", walled);
    struct timeval tv;
    must(gettimeofday(&tv, NULL));
    check(llabs(tv.tv_sec - time(NULL)) <= 1, "gettimeofday %ld, time %ld", tv.tv_sec, time(NULL));
    /* The harness counts the system calls: eight from by_call above, none from here. */
    for (int i = 0; i < 100; i++)
        by_vdso(CLOCK_MONOTONIC);
    pass();
}
