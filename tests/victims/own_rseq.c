/* A program registers rseq areas by itself, as tcmalloc and librseq do where the libc does not: after a restart each thread has its area again, which the kernel
 * keeps up to date. The argument says where they are: "static", "thread" (thread-local), "threads" (those of three threads), "long" (of the length of later
 * versions), or "mapped", where nobody finds it, and "signature", with one of its own. build: gcc -O2 -pthread */
#include "victim.h"
#include <pthread.h>
#include <sched.h>
#include <sys/rseq.h>

struct area {
    uint32_t cpu_id_start, cpu_id;
    uint64_t cs;
    uint32_t flags, node, mm, pad[9];
} __attribute__((aligned(64)));

static struct area of_process;
static __thread struct area of_thread;
static unsigned signature = 0x53053053, length = 32;

static void enter(volatile struct area *area)
{
    check_equal(syscall(SYS_rseq, area, length, 0, signature), 0);
}

static void look(volatile struct area *area)
{
    cpu_set_t allowed, one;
    must(sched_getaffinity(0, sizeof allowed, &allowed));
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed))
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        must(sched_setaffinity(0, sizeof one, &one));
        check_equal(area->cpu_id, cpu);
    }
    must(sched_setaffinity(0, sizeof allowed, &allowed));
    check(syscall(SYS_rseq, area, length, 0, signature) == -1 && errno == EBUSY, "not registered: %s", strerror(errno));
}

static volatile int begun, go_on;
static void *other(void *nothing)
{
    enter(&of_thread);
    __atomic_add_fetch(&begun, 1, __ATOMIC_SEQ_CST);
    while (!go_on)
        usleep(1000);
    look(&of_thread);
    return nothing;
}

int main(int argc, char **argv)
{
    const char *where = argc > 1 ? argv[1] : "static";
    if (__rseq_size > 0) {
        must(setenv("GLIBC_TUNABLES", "glibc.pthread.rseq=0", 1));
        must(execv("/proc/self/exe", argv));
    }
    pthread_t threads[3];
    int count = strcmp(where, "threads") ? 0 : 3;
    struct area *area = strcmp(where, "static") ? &of_thread : &of_process;
    if (!strcmp(where, "mapped")) {
        area = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        check(area != MAP_FAILED, "mmap");
    }
    if (!strcmp(where, "signature"))
        signature = 0x12345678;
    if (!strcmp(where, "long"))
        length = 64;
    enter(area);
    for (int i = 0; i < count; i++)
        check_equal(pthread_create(&threads[i], NULL, other, NULL), 0);
    while (begun < count)
        usleep(1000);
    checkpoint_here();
    look(area);
    go_on = 1;
    for (int i = 0; i < count; i++)
        check_equal(pthread_join(threads[i], NULL), 0);
    pass();
}
