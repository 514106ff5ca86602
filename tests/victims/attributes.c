/* What the kernel keeps about a process that is not memory, descriptors or signals. */
#include "victim.h"
#include <linux/membarrier.h>
#include <sched.h>
#include <signal.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static long ioprio(void)
{
    return syscall(SYS_ioprio_get, 1, 0);
}

static int number_in(const char *path, int base)
{
    char text[64] = "";
    int fd = must(open(path, O_RDONLY));
    check(read(fd, text, sizeof text - 1) > 0, "%s", path);
    close(fd);
    return strtol(text, NULL, base);
}

static void put(const char *path, const char *text)
{
    int fd = must(open(path, O_WRONLY));
    check(write(fd, text, strlen(text)) > 0, "%s: %s", path, strerror(errno));
    close(fd);
}

int main(void)
{
    struct rlimit limits[16], now;
    for (int i = 0; i < 16; i++) {
        must(getrlimit(i, &limits[i]));
        if (i == RLIMIT_CORE || i == RLIMIT_NOFILE || i == RLIMIT_STACK || i == RLIMIT_RTTIME) {
            limits[i].rlim_cur = i == RLIMIT_STACK ? 6 << 20 : i == RLIMIT_NOFILE ? 333 : 12345678;
            if (limits[i].rlim_cur > limits[i].rlim_max)
                limits[i].rlim_cur = limits[i].rlim_max;
            must(setrlimit(i, &limits[i]));
        }
    }
    limits[RLIMIT_CPU].rlim_cur = 5000;
    must(setrlimit(RLIMIT_CPU, &limits[RLIMIT_CPU]));
    errno = 0;
    int nice_value = nice(3);
    check_equal(errno, 0);
    check_equal(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 6), 0);
    must(prctl(PR_SET_NAME, "attributes!"));
    must(prctl(PR_SET_DUMPABLE, 1));
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    must(prctl(PR_SET_PDEATHSIG, SIGRTMIN + 3));
    must(prctl(PR_SET_CHILD_SUBREAPER, 1));
    must(prctl(PR_SET_TIMERSLACK, 123456));
    int thp_disable = 1 | 1 << 1; /* PR_THP_DISABLE_EXCEPT_ADVISED, of Linux 6.18 */
    if (prctl(PR_SET_THP_DISABLE, 1, thp_disable & ~1, 0, 0) < 0) {
        thp_disable = 1;
        must(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
    }
    must(personality(ADDR_NO_RANDOMIZE | UNAME26));
    check_equal(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0), 0);
    put("/proc/self/oom_score_adj", "321");
    put("/proc/self/coredump_filter", "0x55");
    cpu_set_t allowed, one;
    must(sched_getaffinity(0, sizeof allowed, &allowed));
    CPU_ZERO(&one);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &allowed))
        cpu++;
    CPU_SET(cpu, &one);
    must(sched_setaffinity(0, sizeof one, &one));
    struct sched_param none = { 0 };
    must(sched_setscheduler(0, SCHED_BATCH | SCHED_RESET_ON_FORK, &none));
    check_equal(getpriority(PRIO_PROCESS, 0), nice_value);

    checkpoint_here();
    for (int i = 0; i < 16; i++) {
        must(getrlimit(i, &now));
        check(now.rlim_cur == limits[i].rlim_cur && now.rlim_max == limits[i].rlim_max, "limit %d is %ld %ld, not %ld %ld", i, now.rlim_cur,
              now.rlim_max, limits[i].rlim_cur, limits[i].rlim_max);
    }
    check_equal(getpriority(PRIO_PROCESS, 0), nice_value);
    check_equal(ioprio(), 2 << 13 | 6);
    char name[17] = "";
    must(prctl(PR_GET_NAME, name));
    check(!strcmp(name, "attributes!"), "name %s", name);
    check_equal(prctl(PR_GET_DUMPABLE), 1);
    check_equal(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
    int value = 0;
    must(prctl(PR_GET_PDEATHSIG, &value));
    check_equal(value, SIGRTMIN + 3);
    must(prctl(PR_GET_CHILD_SUBREAPER, &value));
    check_equal(value, 1);
    check_equal(prctl(PR_GET_TIMERSLACK), 123456);
    check_equal(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0), thp_disable);
    check_equal(personality(0xffffffff), ADDR_NO_RANDOMIZE | UNAME26);
    check_equal(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0), 0);
    check_equal(number_in("/proc/self/oom_score_adj", 10), 321);
    check_equal(number_in("/proc/self/coredump_filter", 16), 0x55);
    cpu_set_t got;
    must(sched_getaffinity(0, sizeof got, &got));
    check(CPU_EQUAL(&got, &one), "affinity");
    check_equal(sched_getscheduler(0), SCHED_BATCH | SCHED_RESET_ON_FORK);
    pass();
}
