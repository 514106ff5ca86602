/* What a save refuses by name: the argument says what to have. The program goes on. */
#include "victim.h"
#include <arpa/inet.h>
#include <linux/aio_abi.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <netinet/in.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "nothing";
    int shm = -1;
    if (!strcmp(what, "tcp")) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t length = sizeof address;
        int listener = must(socket(AF_INET, SOCK_STREAM, 0)), client = must(socket(AF_INET, SOCK_STREAM, 0));
        must(bind(listener, (void *)&address, length));
        must(listen(listener, 1));
        must(getsockname(listener, (void *)&address, &length));
        must(connect(client, (void *)&address, length));
        must(accept(listener, NULL, NULL));
    } else if (!strcmp(what, "io_uring")) {
        char parameters[120] = { 0 };
        check(syscall(SYS_io_uring_setup, 4, parameters) >= 0, "io_uring_setup: %s", strerror(errno));
    } else if (!strcmp(what, "userfaultfd")) {
        int fd = syscall(SYS_userfaultfd, UFFD_USER_MODE_ONLY);
        check(fd >= 0, "userfaultfd: %s", strerror(errno));
    } else if (!strcmp(what, "perf")) {
        struct perf_event_attr attr = { .type = PERF_TYPE_SOFTWARE, .size = sizeof attr, .config = PERF_COUNT_SW_TASK_CLOCK, .exclude_kernel = 1 };
        check(syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0) >= 0, "perf_event_open: %s", strerror(errno));
    } else if (!strcmp(what, "bpf")) {
        union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1 };
        check(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr) >= 0, "bpf: %s", strerror(errno));
    } else if (!strcmp(what, "fanotify")) {
        must(fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_FID, O_RDONLY));
    } else if (!strcmp(what, "pipe")) {
        /* The harness's pipe: standard input on another number. */
        must(fcntl(0, F_DUPFD, 10));
        must(close(0));
        check_equal(open("/dev/null", O_RDONLY), 0);
    } else if (!strcmp(what, "directory")) {
        must(mkdir("folder", 0700));
        must(chdir("folder"));
        must(rmdir("../folder"));
    } else if (!strcmp(what, "aio")) {
        aio_context_t context = 0;
        check_equal(syscall(SYS_io_setup, 1, &context), 0);
    } else if (!strcmp(what, "seccomp")) {
        /* The victim can then only read, write and return from signals: it waits on its input. */
        say_ready();
        must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0));
        char byte;
        if (syscall(SYS_read, 0, &byte, 1) != 1)
            syscall(SYS_exit, 9);
        syscall(SYS_write, 1, "PASS\n", 5);
        syscall(SYS_exit, 0);
    } else if (!strcmp(what, "hugetlb")) {
        void *huge = mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0);
        check(huge != MAP_FAILED, "hugetlb: %s", strerror(errno));
    } else if (!strcmp(what, "sysv")) {
        shm = must(shmget(IPC_PRIVATE, 1 << 16, 0600));
        check(shmat(shm, NULL, 0) != (void *)-1, "shmat: %s", strerror(errno));
        must(shmctl(shm, IPC_RMID, NULL));
    } else if (!strcmp(what, "device")) {
        must(open("/dev/kmsg", O_RDONLY | O_NONBLOCK));
    } else {
        check(!strcmp(what, "nothing"), "what is %s?", what);
    }
    checkpoint_here();
    pass();
}
