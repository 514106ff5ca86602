/* A thread that has something of its own, made by a raw system call, as libcs make the same for all threads. It ends after the first wait. With "filtered"
   as second argument, the whole process is under a seccomp filter. */
#include "victim.h"
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <pthread.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>

static volatile int differs, stop;

static void filter(void)
{
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = { 1, &allow };
    must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

static void *differ(void *what)
{
    must(prctl(PR_SET_NAME, "different"));
    if (!strcmp(what, "cwd")) {
        must(unshare(CLONE_FS));
        must(chdir("/"));
    } else if (!strcmp(what, "files")) {
        must(unshare(CLONE_FILES));
    } else if (!strcmp(what, "uid")) {
        must(syscall(SYS_setresuid, -1, 65534, -1));
    } else if (!strcmp(what, "gid")) {
        must(syscall(SYS_setresgid, -1, 65534, -1));
    } else if (!strcmp(what, "fsuid")) {
        setfsuid(65534);
        check_equal(setfsuid(-1), 65534);
    } else if (!strcmp(what, "groups")) {
        gid_t some[] = { 1, 2, 3 };
        must(syscall(SYS_setgroups, 3, some));
    } else if (!strcmp(what, "bounding")) {
        must(prctl(PR_CAPBSET_DROP, CAP_SYS_PACCT));
    } else if (!strcmp(what, "securebits")) {
        must(prctl(PR_SET_SECUREBITS, SECBIT_NO_CAP_AMBIENT_RAISE));
    } else if (!strcmp(what, "filter")) {
        filter();
    } else if (!strcmp(what, "capabilities")) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct none[2] = { 0 };
        must(syscall(SYS_capset, &header, none));
    } else if (!strcmp(what, "no_new_privs")) {
        must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    } else {
        must(unshare(!strcmp(what, "net") ? CLONE_NEWNET : CLONE_NEWUTS));
    }
    differs = 1;
    while (!stop)
        usleep(1000);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    int is_filtered = argc > 2;
    if (is_filtered || (argc > 1 && !strcmp(argv[1], "filter")))
        must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    if (is_filtered)
        filter();
    check_equal(pthread_create(&thread, NULL, differ, argc > 1 ? argv[1] : "cwd"), 0);
    while (!differs)
        usleep(1000);
    checkpoint_here();
    stop = 1;
    check_equal(pthread_join(thread, NULL), 0);
    checkpoint_here();
    pass();
}
