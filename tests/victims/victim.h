/* A victim is a small program that checks itself. It sets up one property, calls checkpoint_here(), which says "ready" and waits
 * until the harness has done what it wants, verifies, and ends with PASS or with FAIL and a reason.
 *
 * The wait takes nothing from the process that a victim might want to test: no signal, no descriptor, no memory. */
#ifndef VICTIM_H
#define VICTIM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL

static char victim_dir[4096];

/* Remembers where the harness puts its files, whatever the working directory is or becomes. */
__attribute__((constructor)) static void victim_start(void)
{
    const char *dir = getenv("VICTIM_DIR");
    if (dir)
        snprintf(victim_dir, sizeof victim_dir, "%s", dir);
    else if (!getcwd(victim_dir, sizeof victim_dir))
        _exit(3);
}

/* Ends the victim: FAIL file:line: reason. With raw writes, as stdio may be what is broken. */
__attribute__((format(printf, 3, 4), noreturn, unused)) static void
victim_fail(const char *file, int line, const char *format, ...)
{
    char text[1024];
    int n = snprintf(text, sizeof text, "FAIL %s:%d: ", file, line);
    va_list args;
    va_start(args, format);
    n += vsnprintf(text + n, sizeof text - n, format, args);
    va_end(args);
    if (n > (int)sizeof text - 2)
        n = sizeof text - 2;
    text[n++] = '\n';
    if (write(1, text, n) < 0)
        _exit(4);
    _exit(1);
}

#define fail(...) victim_fail(__FILE__, __LINE__, __VA_ARGS__)
/* Fails unless the condition holds; the message follows printf. */
#define check(condition, ...) \
    do { \
        if (!(condition)) \
            fail(__VA_ARGS__); \
    } while (0)
/* Fails with errno unless the value of a call is not -1. */
#define must(call) \
    ({ \
        __typeof__(call) value_ = (call); \
        if (value_ == (__typeof__(call))-1) \
            fail("%s: %s", #call, strerror(errno)); \
        value_; \
    })
#define check_equal(got, want) \
    do { \
        long long got_ = (long long)(got), want_ = (long long)(want); \
        if (got_ != want_) \
            fail("%s is %lld (%#llx), not %lld (%#llx)", #got, got_, got_, want_, want_); \
    } while (0)

/* How often this process was restarted: its ids may be those of before. */
extern unsigned ckpt_restarts(void) __attribute__((weak));
__attribute__((unused)) static unsigned restarts(void)
{
    return ckpt_restarts ? ckpt_restarts() : 0;
}

/* Says "ready". */
__attribute__((unused)) static void say_ready(void)
{
    if (write(1, "ready\n", 6) != 6)
        _exit(5);
}

/* Waits for the harness's n-th go: partly on the CPU, partly in system calls, so that a save hits either. */
__attribute__((unused)) static void wait_for_go(int n)
{
    char name[4200];
    snprintf(name, sizeof name, "%s/go.%d", victim_dir, n);
    while (access(name, F_OK) != 0) {
        for (volatile int i = 0; i < 20000; i++)
            ;
        struct timespec a_little = { 0, 100000 };
        nanosleep(&a_little, NULL);
    }
}

/* Here the process is saved, killed and restarted, perhaps several times. */
__attribute__((unused)) static void checkpoint_here(void)
{
    static int count;
    say_ready();
    wait_for_go(++count);
}

/* Maps the harness's control page, shared, at an address of the victim's choice (NULL for any). Its first word is the number of the last go. */
__attribute__((unused)) static volatile uint64_t *map_control(void *where)
{
    char name[4200];
    snprintf(name, sizeof name, "%s/control", victim_dir);
    int fd = must(open(name, O_RDWR | O_CLOEXEC));
    void *page = mmap(where, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | (where ? MAP_FIXED : 0), fd, 0);
    check(page != MAP_FAILED, "control page: %s", strerror(errno));
    must(close(fd));
    return (volatile uint64_t *)page;
}

/* The value of a hexadecimal or decimal field of /proc/self/status, such as "SigBlk". */
__attribute__((unused)) static unsigned long long status_field(const char *name, int base)
{
    char line[512];
    FILE *f = fopen("/proc/self/status", "r");
    check(f, "/proc/self/status: %s", strerror(errno));
    unsigned long long value = ~0ULL;
    while (fgets(line, sizeof line, f))
        if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
            value = strtoull(line + strlen(name) + 1, NULL, base);
    fclose(f);
    return value;
}

/* The state of a thread: S while it sleeps in a system call, D in vfork(2). */
__attribute__((unused)) static char thread_state(pid_t tid)
{
    char path[64], state = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    FILE *f = fopen(path, "r");
    check(f && fscanf(f, "%*d %*s %c", &state) == 1, "%s", path);
    fclose(f);
    return state;
}

/* The line of /proc/self/maps that contains the address. Empty when there is none. */
__attribute__((unused)) static const char *maps_line_at(const void *where)
{
    static char line[4600];
    FILE *f = fopen("/proc/self/maps", "r");
    check(f, "/proc/self/maps: %s", strerror(errno));
    unsigned long start = 1, end = 0;
    while (fgets(line, sizeof line, f) && sscanf(line, "%lx-%lx", &start, &end) == 2)
        if ((unsigned long)where >= start && (unsigned long)where < end)
            break;
    fclose(f);
    if ((unsigned long)where < start || (unsigned long)where >= end)
        line[0] = 0;
    line[strcspn(line, "\n")] = 0;
    return line;
}

/* The first line of /proc/self/maps with this name. Empty when there is none. */
__attribute__((unused)) static const char *maps_line_named(const char *name)
{
    static char line[4600];
    FILE *f = fopen("/proc/self/maps", "r");
    check(f, "/proc/self/maps: %s", strerror(errno));
    int found = 0;
    while (!found && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        char *last = strrchr(line, ' ');
        found = last && !strcmp(last + 1, name);
    }
    fclose(f);
    if (!found)
        line[0] = 0;
    return line;
}

__attribute__((unused, noreturn)) static void pass(void)
{
    fflush(NULL);
    if (write(1, "PASS\n", 5) != 5)
        _exit(6);
    _exit(0);
}

#endif
