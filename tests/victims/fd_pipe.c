/* Pipes: unread bytes, sizes, flags, either end alone, both ends, packets, further ends, numbers that stand in each other's way. */
#include "victim.h"
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>

static int moved(int fd, int to)
{
    must(dup3(fd, to, O_CLOEXEC));
    must(close(fd));
    return to;
}

static void holds(int fd, const char *text)
{
    char got[256] = "";
    int queued;
    must(ioctl(fd, FIONREAD, &queued));
    check_equal(queued, strlen(text));
    check_equal(must(read(fd, got, sizeof got)), strlen(text));
    check(!strcmp(got, text), "the pipe of %d has '%s', not '%s'", fd, got, text);
}

static int events(int fd, int ask)
{
    struct pollfd entry = { .fd = fd, .events = ask };
    must(poll(&entry, 1, 0));
    return entry.revents;
}

static int flags(int fd)
{
    return must(fcntl(fd, F_GETFL)) & (O_ACCMODE | O_NONBLOCK | O_DIRECT);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    int plain[2], large[2], crossed[2], ended[2], broken[2], packets[2], single[2], more[2], full[2];
    must(pipe2(plain, O_CLOEXEC));
    must(write(plain[1], "unread bytes", 12));

    must(pipe2(large, O_NONBLOCK));
    must(fcntl(large[1], F_SETPIPE_SZ, 256 * 1024));
    static char block[200000];
    memset(block, 'x', sizeof block);
    check_equal(must(write(large[1], block, sizeof block)), sizeof block);

    /* The writing end has the lower number, the reading end stands where the kernel will put another. */
    must(pipe(crossed));
    int writer = moved(crossed[1], 100);
    int reader = moved(crossed[0], 101);
    must(write(writer, "crossed", 7));

    must(pipe(ended));
    must(write(ended[1], "last words", 10));
    must(close(ended[1]));

    must(pipe(broken));
    must(close(broken[0]));

    must(pipe2(packets, O_DIRECT));
    must(write(packets[1], "one", 3));
    must(write(packets[1], "second", 6));

    must(pipe2(single, O_DIRECT));
    must(write(single[1], "a packet", 8));
    must(close(single[1]));

    /* Further open file descriptions of one pipe. */
    must(pipe(more));
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", more[0]);
    int second = must(open(name, O_RDONLY | O_NONBLOCK));
    int both = must(open(name, O_RDWR | O_CLOEXEC));
    int twin = must(dup(both));
    must(write(both, "shared", 6));

    /* Not one more byte fits. */
    must(pipe2(full, O_NONBLOCK));
    must(fcntl(full[1], F_SETPIPE_SZ, 4096));
    check_equal(must(write(full[1], block, 4096)), 4096);

    checkpoint_here();
    holds(plain[0], "unread bytes");
    check_equal(must(fcntl(plain[0], F_GETFD)), FD_CLOEXEC);
    check_equal(must(fcntl(plain[1], F_GETFD)), FD_CLOEXEC);
    must(write(plain[1], "and more", 8));
    holds(plain[0], "and more");

    check_equal(must(fcntl(large[0], F_GETPIPE_SZ)), 256 * 1024);
    check_equal(flags(large[0]), O_RDONLY | O_NONBLOCK);
    check_equal(flags(large[1]), O_WRONLY | O_NONBLOCK);
    check_equal(must(fcntl(large[0], F_GETFD)), 0);
    memset(block, 0, sizeof block);
    check_equal(must(read(large[0], block, sizeof block)), sizeof block);
    check(block[0] == 'x' && block[sizeof block - 1] == 'x', "large pipe");
    check(read(large[0], block, 1) == -1 && errno == EAGAIN, "large pipe is not empty");

    check_equal(must(fcntl(writer, F_GETFD)), FD_CLOEXEC);
    holds(reader, "crossed");
    must(write(writer, "again", 5));
    holds(reader, "again");

    holds(ended[0], "last words");
    check_equal(events(ended[0], POLLIN), POLLHUP);
    char byte;
    check_equal(must(read(ended[0], &byte, 1)), 0);

    check_equal(events(broken[1], POLLOUT), POLLOUT | POLLERR);
    check(write(broken[1], "x", 1) == -1 && errno == EPIPE, "a pipe without a reader takes a byte");

    check_equal(flags(packets[1]), O_WRONLY | O_DIRECT);
    check_equal(flags(packets[0]), O_RDONLY);
    check_equal(must(read(packets[0], block, 2)), 2); /* the rest of a packet is gone with its first byte */
    check_equal(must(read(packets[0], block, 100)), 6);
    check(!memcmp(block, "second", 6), "second packet");

    check_equal(must(read(single[0], block, 1)), 1);
    check_equal(must(read(single[0], block, 1)), 0);

    check_equal(flags(second), O_RDONLY | O_NONBLOCK);
    check_equal(flags(both), O_RDWR);
    check_equal(must(fcntl(both, F_GETFD)), FD_CLOEXEC);
    check_equal(must(fcntl(twin, F_GETFD)), 0);
    must(fcntl(both, F_SETFL, O_NONBLOCK));
    check_equal(flags(twin), O_RDWR | O_NONBLOCK);
    check_equal(flags(more[0]), O_RDONLY);
    holds(second, "shared");
    must(write(more[1], "to all", 6));
    holds(twin, "to all");

    check(write(full[1], "x", 1) == -1 && errno == EAGAIN, "a full pipe takes a byte");
    check_equal(must(fcntl(full[1], F_GETPIPE_SZ)), 4096);
    check_equal(must(read(full[0], block, sizeof block)), 4096);
    pass();
}
