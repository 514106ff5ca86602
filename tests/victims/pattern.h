/* Contents that tell one page from another, and a page in its place from one elsewhere. */
#ifndef PATTERN_H
#define PATTERN_H
#include "victim.h"

extern unsigned ckpt_restarts(void) __attribute__((weak));

/* Whether this is a process that was restarted: memory with MADV_WIPEONFORK is wiped then. */
__attribute__((unused)) static int was_restarted(void)
{
    return ckpt_restarts && ckpt_restarts();
}

/* Younger than the headers of some distributions. */
#ifndef SYS_mseal
#define SYS_mseal 462
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

static inline uint64_t pattern(uint64_t address)
{
    return (address >> 12) * 0x9e3779b97f4a7c15u + 0x632be59bd9b4e019u;
}

/* Fills the page at an address with what only this page has. */
__attribute__((unused)) static void fill(void *page)
{
    for (uint64_t *p = page, i = 0; i < PAGE / 8; i++)
        p[i] = pattern((uint64_t)page) + i;
}

/* Fails unless the page holds what fill wrote. */
__attribute__((unused)) static void verify(const void *page)
{
    for (const uint64_t *p = page, *start = page; p < start + PAGE / 8; p++)
        check(*p == pattern((uint64_t)page) + (p - start), "%p holds %#lx", (const void *)p, *p);
}

/* Fails unless the page is zero. */
__attribute__((unused)) static void verify_zero(const void *page)
{
    for (const uint64_t *p = page, *start = page; p < start + PAGE / 8; p++)
        check(*p == 0, "%p holds %#lx, not zero", (const void *)p, *p);
}

/* Anonymous private memory at exactly this address; fails when something is there. */
__attribute__((unused)) static char *map_at(uint64_t address, uint64_t size, int prot)
{
    char *got = mmap((void *)address, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);
    check(got == (char *)address, "mmap %#lx, %#lx bytes: %s", address, size, strerror(errno));
    return got;
}

/* Anonymous private memory anywhere. */
__attribute__((unused)) static char *map_anywhere(uint64_t size, int prot)
{
    char *got = mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    check(got != MAP_FAILED, "mmap of %#lx bytes: %s", size, strerror(errno));
    return got;
}
#endif
