/* What the kernel says about the process: the names of its heap, stack and vdso, its arguments, its environment, its name. */
#include "victim.h"
#include <sys/auxv.h>
#include <sys/prctl.h>

static char *slurp(const char *path, size_t *size)
{
    char *text = calloc(1, 65536);
    int fd = must(open(path, O_RDONLY));
    size_t n = 0;
    ssize_t got;
    while ((got = must(read(fd, text + n, 65535 - n))) > 0)
        n += got;
    close(fd);
    *size = n;
    return text;
}

int main(void)
{
    free(malloc(1000));
    static const char *names[] = { "[heap]", "[stack]", "[vdso]", "[vvar]" };
    unsigned long starts[4], end, ends[4];
    for (int i = 0; i < 4; i++) {
        check(sscanf(maps_line_named(names[i]), "%lx-%lx", &starts[i], &ends[i]) == 2, "no %s at the start", names[i]);
    }
    size_t cmdline_size, environ_size, auxv_size, size;
    must(prctl(PR_SET_NAME, "a name of mine"));
    char *cmdline = slurp("/proc/self/cmdline", &cmdline_size);
    char *environment = slurp("/proc/self/environ", &environ_size);
    char *auxv = slurp("/proc/self/auxv", &auxv_size);
    check(environ_size > 10 && auxv_size > 100, "environ %zu, auxv %zu", environ_size, auxv_size);

    checkpoint_here();
    for (int i = 0; i < 4; i++) {
        unsigned long start;
        check(sscanf(maps_line_named(names[i]), "%lx-%lx", &start, &end) == 2, "no %s", names[i]);
        if (i == 1) /* may have grown */
            check(end == ends[i], "%s ends at %lx, not %lx", names[i], end, ends[i]);
        else
            check(start == starts[i], "%s is at %lx, not %lx", names[i], start, starts[i]);
    }
    char *now = slurp("/proc/self/cmdline", &size);
    check(size == cmdline_size && !memcmp(now, cmdline, size), "cmdline is %s, not %s", now, cmdline);
    now = slurp("/proc/self/environ", &size);
    check(size == environ_size && !memcmp(now, environment, size), "environ is %s, not %s", now, environment);
    now = slurp("/proc/self/auxv", &size);
    check(size == auxv_size && !memcmp(now, auxv, size), "auxv differs");
    check_equal(getauxval(AT_SYSINFO_EHDR), starts[2]);
    char comm[17] = "";
    must(prctl(PR_GET_NAME, comm));
    check(!strcmp(comm, "a name of mine"), "comm is %s", comm);
    pass();
}
