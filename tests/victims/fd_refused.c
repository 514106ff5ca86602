/* Descriptors that a save refuses by name: the argument says which. The program goes on unharmed. Without an argument, none.
 *
 * "skip" where the kernel does not let this user have such a descriptor. */
#include "victim.h"
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <linux/fanotify.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

static const char *kind;
static int fd = -1, other = -1;

static int is(const char *name)
{
    return !strcmp(kind, name);
}

static int may(long result)
{
    if (result == -1 && (errno == EPERM || errno == EACCES || errno == ENOSYS || errno == ENOENT || errno == EAFNOSUPPORT ||
                         errno == EPROTONOSUPPORT || errno == ENXIO || errno == ENODEV)) {
        puts("skip");
        fflush(stdout);
        _exit(0);
    }
    check(result != -1, "%s: %s", kind, strerror(errno));
    return result;
}

/* A child that keeps what it was given until the victim ends. */
static pid_t child_with(int keep, int close_here)
{
    pid_t child = must(fork());
    if (child == 0) {
        for (int i = 3; i < 100; i++)
            if (i != keep)
                close(i);
        while (getppid() != 1 && kill(getppid(), 0) == 0)
            usleep(1000);
        _exit(0);
    }
    if (close_here >= 0)
        must(close(close_here));
    return child;
}

static void tcp(int accepted)
{
    int listener = must(socket(AF_INET, SOCK_STREAM, 0));
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    must(bind(listener, (void *)&address, len));
    must(listen(listener, 5));
    must(getsockname(listener, (void *)&address, &len));
    int client = must(socket(AF_INET, SOCK_STREAM, 0));
    must(connect(client, (void *)&address, len));
    fd = listener, other = client;
    if (accepted) {
        fd = must(accept(listener, NULL, NULL));
        must(close(listener));
    }
}

static void unix_listener(int accepted)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "listener" };
    if (accepted)
        snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "victim-refused-%d", getpid()), address.sun_path[0] = 0;
    int listener = must(socket(AF_UNIX, SOCK_STREAM, 0));
    must(bind(listener, (void *)&address, sizeof address));
    must(listen(listener, 5));
    other = must(socket(AF_UNIX, SOCK_STREAM, 0));
    must(connect(other, (void *)&address, sizeof address));
    fd = listener;
    if (accepted)
        fd = must(accept(listener, NULL, NULL));
}

static void in_flight(void)
{
    int pair[2], sent = must(open("/dev/null", O_RDONLY));
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    char control[CMSG_SPACE(sizeof sent)];
    struct iovec piece = { "x", 1 };
    struct msghdr message = { .msg_iov = &piece, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof sent), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
    memcpy(CMSG_DATA(header), &sent, sizeof sent);
    must(sendmsg(pair[0], &message, 0));
    must(close(sent));
    fd = pair[1];
}

static void udp(void)
{
    fd = must(socket(AF_INET, SOCK_DGRAM, 0));
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    must(bind(fd, (void *)&address, len));
    must(getsockname(fd, (void *)&address, &len));
    check_equal(must(sendto(fd, "", 0, 0, (void *)&address, len)), 0);
}

static void multicast(int family)
{
    fd = may(socket(family, SOCK_DGRAM, 0));
    /* Interface 1 is the loopback of every network namespace. */
    struct group_req request = { .gr_interface = 1 };
    request.gr_group.ss_family = family;
    check_equal(inet_pton(family, family == AF_INET ? "239.1.2.3" : "ff01::1234",
                          family == AF_INET ? (void *)&((struct sockaddr_in *)&request.gr_group)->sin_addr
                                            : (void *)&((struct sockaddr_in6 *)&request.gr_group)->sin6_addr), 1);
    may(setsockopt(fd, family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6, MCAST_JOIN_GROUP, &request, sizeof request));
}

/* Its peer has left it for another one. */
static void abandoned(void)
{
    int pair[2];
    struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "another" };
    must(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    other = must(socket(AF_UNIX, SOCK_DGRAM, 0));
    must(bind(other, (void *)&address, sizeof address));
    must(connect(pair[1], (void *)&address, sizeof address));
    fd = pair[0];
    /* The kernel says so by an error, which the program takes. */
    check(send(fd, "x", 1, 0) == -1, "an abandoned socket sends");
}

static void corked(void)
{
    udp();
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    must(getsockname(fd, (void *)&address, &len));
    other = fd;
    must(recv(other, &(char){ 0 }, 1, 0));
    fd = must(socket(AF_INET, SOCK_DGRAM, 0));
    must(connect(fd, (void *)&address, len));
    must(setsockopt(fd, IPPROTO_UDP, UDP_CORK, &(int){ 1 }, sizeof(int)));
    must(send(fd, "held back", 9, 0));
}

static void set_up(void)
{
    int ends[2];
    if (is("tcp"))
        tcp(1);
    else if (is("tcp-waiting"))
        tcp(0), child_with(other, other);
    else if (is("udp-waiting"))
        udp();
    else if (is("multicast"))
        multicast(AF_INET);
    else if (is("multicast6"))
        multicast(AF_INET6);
    else if (is("unix-waiting"))
        unix_listener(0), child_with(other, other);
    else if (is("unix-named"))
        unix_listener(1);
    else if (is("abandoned"))
        abandoned();
    else if (is("corked"))
        corked();
    else if (is("taken")) {
        struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "path" };
        fd = must(socket(AF_UNIX, SOCK_DGRAM, 0));
        must(bind(fd, (void *)&address, sizeof address));
        must(unlink("path"));
        must(mkfifo("path", 0600));
    } else if (is("in-flight"))
        in_flight();
    else if (is("pipe")) {
        must(pipe(ends));
        fd = ends[0];
        child_with(ends[1], ends[1]);
    } else if (is("pipe-writer")) {
        must(pipe(ends));
        fd = ends[1];
        child_with(ends[0], ends[0]);
    } else if (is("pair")) {
        must(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends));
        fd = ends[0];
        child_with(ends[1], ends[1]);
    } else if (is("io_uring")) {
        struct { unsigned words[30]; } params = { 0 };
        fd = may(syscall(SYS_io_uring_setup, 4, &params));
    } else if (is("userfaultfd"))
        fd = may(syscall(SYS_userfaultfd, UFFD_USER_MODE_ONLY));
    else if (is("perf")) {
        struct perf_event_attr attr = { .type = PERF_TYPE_SOFTWARE, .size = sizeof attr, .config = PERF_COUNT_SW_CPU_CLOCK, .exclude_kernel = 1 };
        fd = may(syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0));
    } else if (is("bpf")) {
        union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1 };
        fd = may(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr));
    } else if (is("fanotify"))
        fd = may(fanotify_init(FAN_REPORT_FID, O_RDONLY));
    else if (is("netlink"))
        fd = may(socket(AF_NETLINK, SOCK_RAW, 0));
    else if (is("packet"))
        fd = may(socket(AF_PACKET, SOCK_RAW, 0));
    else if (is("device"))
        fd = may(open("/dev/fuse", O_RDWR));
    else if (is("block"))
        fd = may(open("/dev/loop0", O_RDONLY));
    else if (is("ptmx"))
        fd = may(posix_openpt(O_RDWR | O_NOCTTY));
    else if (is("lease")) {
        fd = must(open("file", O_CREAT | O_RDONLY, 0644));
        may(fcntl(fd, F_SETLEASE, F_RDLCK));
    } else if (is("removed")) {
        must(mkdir("folder", 0755));
        fd = must(open("folder", O_RDONLY | O_DIRECTORY));
        must(rmdir("folder"));
    } else if (is("unnamed")) {
        fd = must(open("one", O_CREAT | O_RDWR, 0644));
        must(mkdir("folder", 0755));
        must(link("one", "folder/two"));
        must(unlink("one"));
    } else if (is("inotify")) {
        fd = must(inotify_init());
        must(inotify_add_watch(fd, ".", IN_CREATE));
        must(close(must(open("new", O_CREAT | O_WRONLY, 0644))));
    } else if (is("pidfd"))
        fd = may(syscall(SYS_pidfd_open, child_with(-1, -1), 0));
    else if (is("epoll")) {
        must(pipe(ends));
        fd = must(epoll_create1(0));
        struct epoll_event event = { .events = EPOLLIN };
        must(epoll_ctl(fd, EPOLL_CTL_ADD, ends[0], &event));
        must(close(ends[1]));
        child_with(ends[0], ends[0]);
    } else if (is("mqueue")) {
        char name[64];
        snprintf(name, sizeof name, "/victim-%d", getpid());
        fd = may(mq_open(name, O_CREAT | O_RDWR, 0600, NULL));
        must(mq_unlink(name));
    } else if (is("secretmem"))
        fd = may(syscall(SYS_memfd_secret, 0));
    else if (is("owner")) {
        must(pipe(ends));
        fd = ends[0];
        must(fcntl(fd, F_SETOWN, child_with(-1, -1)));
    } else if (is("namespace"))
        fd = must(open("/proc/self/ns/net", O_RDONLY));
    else if (is("hidden")) {
        if (geteuid() == 0)
            errno = EPERM, may(-1); /* root may enter every folder */
        must(mkdir("folder", 0700));
        fd = must(open("folder/file", O_CREAT | O_RDWR, 0644));
        must(chmod("folder", 0));
    } else if (is("proc")) {
        char name[64];
        snprintf(name, sizeof name, "/proc/%d/status", child_with(-1, -1));
        fd = must(open(name, O_RDONLY));
    } else if (is("filter")) {
        fd = must(socket(AF_INET, SOCK_DGRAM, 0));
        struct { unsigned short code; unsigned char jt, jf; unsigned k; } accept_all = { 6, 0, 0, ~0u };
        struct { unsigned short len; void *filter; } program = { 1, &accept_all };
        must(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
    } else
        fail("no kind %s", kind);
}

int main(int argc, char **argv)
{
    kind = argc > 1 ? argv[1] : "";
    if (argc > 1) {
        set_up();
        /* Under a number that the message can be compared with. */
        must(dup2(fd, 77));
        must(close(fd));
    }
    checkpoint_here();
    if (argc > 1)
        check_equal(fcntl(77, F_GETFD), 0);
    pass();
}
