/* What it may do: a thread and the main thread print their capabilities and groups when they go on. "drop": it has given up all capabilities before. "groups": it is in
 * the supplementary groups 7 and 8. "hook": it wants SIGUSR2's neighbour after a restart. */
#include "victim.h"
#include <grp.h>
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

extern int ckpt_after_restart(int) __attribute__((weak));
extern unsigned ckpt_restarts(void) __attribute__((weak));

static volatile sig_atomic_t told;

static void tell(int number)
{
    told = number;
}

static void show(const char *who)
{
    char path[64], line[4096];
    snprintf(path, sizeof path, "/proc/self/task/%ld/status", syscall(SYS_gettid));
    FILE *f = fopen(path, "r");
    check(f, "%s", path);
    while (fgets(line, sizeof line, f))
        if (!strncmp(line, "Cap", 3) || !strncmp(line, "Groups:", 7))
            printf("%s %s", who, line);
    fclose(f);
    fflush(stdout);
}

static void *thread(void *unused)
{
    wait_for_go(1);
    show("thread");
    return unused;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "groups"))
        must(setgroups(2, (gid_t[]){ 7, 8 }));
    if (!strcmp(what, "drop")) {
        must(prctl(PR_CAPBSET_DROP, CAP_SYS_BOOT, 0, 0, 0));
        struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
        struct __user_cap_data_struct none[2];
        memset(none, 0, sizeof none);
        must(syscall(SYS_capset, &header, none));
    }
    if (!strcmp(what, "hook")) {
        signal(SIGWINCH, tell);
        if (ckpt_after_restart) {
            check_equal(ckpt_after_restart(99), -1);
            check_equal(ckpt_after_restart(SIGWINCH), 0);
        }
    }
    pthread_t other;
    must(-pthread_create(&other, NULL, thread, NULL));
    checkpoint_here();
    must(-pthread_join(other, NULL));
    show("main");
    if (!strcmp(what, "hook") && ckpt_restarts)
        check_equal(told, ckpt_restarts() ? SIGWINCH : 0);
    pass();
}
