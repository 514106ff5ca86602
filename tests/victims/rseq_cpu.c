/* rseq is registered again: glibc's sched_getcpu reads the CPU number from the rseq area, which only a registered one keeps current. */
#include "victim.h"
#include <sched.h>
#include <sys/rseq.h>

static void follow(const char *when)
{
    cpu_set_t allowed, one;
    must(sched_getaffinity(0, sizeof allowed, &allowed));
    int tried = 0;
    for (int round = 0; round < 3; round++)
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
            if (!CPU_ISSET(cpu, &allowed))
                continue;
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            must(sched_setaffinity(0, sizeof one, &one));
            check(sched_getcpu() == cpu, "%s: sched_getcpu says %d on CPU %d", when, sched_getcpu(), cpu);
            unsigned really;
            check_equal(syscall(SYS_getcpu, &really, NULL, NULL), 0);
            check_equal(really, cpu);
            tried++;
        }
    check(tried > 0, "no CPU");
    must(sched_setaffinity(0, sizeof allowed, &allowed));
}

int main(void)
{
    check(__rseq_size > 0, "glibc has not registered rseq");
    struct rseq *area = (void *)((char *)__builtin_thread_pointer() + __rseq_offset);
    follow("before");
    checkpoint_here();
    follow("after");
    check((int)area->cpu_id >= 0, "cpu_id is %d", (int)area->cpu_id);
    /* A second registration must be refused with EBUSY: the kernel knows this very area. */
    check_equal(syscall(SYS_rseq, area, 32, 0, RSEQ_SIG), -1);
    check_equal(errno, EBUSY);
    pass();
}
