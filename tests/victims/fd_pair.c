/* Pairs of unix sockets: what is queued, shutdowns, ends alone, options. */
#include "victim.h"
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>

static int events(int fd)
{
    struct pollfd entry = { .fd = fd, .events = POLLIN };
    must(poll(&entry, 1, 0));
    return entry.revents;
}

static void receives(int fd, const char *text)
{
    char got[256];
    memset(got, 0, sizeof got);
    check_equal(must(recv(fd, got, sizeof got, MSG_DONTWAIT)), strlen(text));
    check(!strcmp(got, text), "descriptor %d gives '%s', not '%s'", fd, got, text);
}

static void is_empty(int fd)
{
    char byte;
    check(recv(fd, &byte, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN, "descriptor %d has something", fd);
}

static void sends(int fd, const char *text)
{
    check_equal(must(send(fd, text, strlen(text), MSG_NOSIGNAL)), strlen(text));
}

int main(void)
{
    int stream[2], dgram[2], packet[2], half[2], alone[2], last[2], reset[2], large[2], numbers[2], options[2];
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, stream));
    sends(stream[0], "one ");
    sends(stream[0], "two");
    sends(stream[1], "back");

    must(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, dgram));
    sends(dgram[0], "first");
    sends(dgram[0], "");
    sends(dgram[0], "third");

    must(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, packet));
    sends(packet[1], "p1");
    sends(packet[1], "packet 2");

    must(socketpair(AF_UNIX, SOCK_STREAM, 0, half));
    sends(half[0], "before");
    must(shutdown(half[0], SHUT_WR));

    must(socketpair(AF_UNIX, SOCK_STREAM, 0, alone));
    sends(alone[1], "left behind");
    must(close(alone[1]));

    must(socketpair(AF_UNIX, SOCK_DGRAM, 0, last));
    sends(last[1], "last datagram");
    must(close(last[1]));

    must(socketpair(AF_UNIX, SOCK_STREAM, 0, reset));
    sends(reset[0], "nobody will read this");
    sends(reset[1], "but this");
    must(close(reset[1]));

    must(socketpair(AF_UNIX, SOCK_STREAM, 0, large));
    static char block[100000];
    memset(block, 'b', sizeof block);
    check_equal(must(send(large[0], block, sizeof block, 0)), sizeof block);

    must(socketpair(AF_UNIX, SOCK_STREAM, 0, numbers));
    must(dup2(numbers[0], 301));
    must(dup2(numbers[1], 300));
    must(close(numbers[0]));
    must(close(numbers[1]));
    int twin = must(dup(300));

    must(socketpair(AF_UNIX, SOCK_DGRAM, 0, options));
    int on = 1, size = 40000;
    struct timeval wait = { 3, 500000 };
    must(setsockopt(options[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
    must(setsockopt(options[0], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait));
    must(setsockopt(options[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
    sends(options[1], "with credentials");

    checkpoint_here();
    check_equal(must(fcntl(stream[0], F_GETFL)) & O_NONBLOCK, O_NONBLOCK);
    receives(stream[1], "one two");
    receives(stream[0], "back");
    is_empty(stream[0]);
    sends(stream[0], "on");
    receives(stream[1], "on");

    check_equal(must(fcntl(dgram[1], F_GETFD)), FD_CLOEXEC);
    receives(dgram[1], "first");
    receives(dgram[1], "");
    receives(dgram[1], "third");
    is_empty(dgram[1]);
    is_empty(dgram[0]);
    sends(dgram[1], "reply");
    receives(dgram[0], "reply");

    receives(packet[0], "p1");
    receives(packet[0], "packet 2");
    is_empty(packet[0]);

    receives(half[1], "before");
    receives(half[1], "");
    check(send(half[0], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "sending was shut down");
    sends(half[1], "other way");
    receives(half[0], "other way");

    check_equal(events(alone[0]), POLLIN | POLLHUP);
    receives(alone[0], "left behind");
    receives(alone[0], "");
    check(send(alone[0], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "the peer is closed");

    receives(last[0], "last datagram");
    is_empty(last[0]);
    check(send(last[0], "x", 1, MSG_NOSIGNAL) == -1 && errno == ECONNREFUSED, "the peer is closed: %s", strerror(errno));

    check_equal(events(reset[0]) & POLLERR, POLLERR);
    int error = 0;
    socklen_t len = sizeof error;
    must(getsockopt(reset[0], SOL_SOCKET, SO_ERROR, &error, &len));
    check_equal(error, ECONNRESET);
    receives(reset[0], "but this");

    memset(block, 0, sizeof block);
    check_equal(must(recv(large[1], block, sizeof block, MSG_WAITALL)), sizeof block);
    check(block[0] == 'b' && block[sizeof block - 1] == 'b', "large stream");

    sends(301, "crossed");
    receives(twin, "crossed");
    sends(twin, "back");
    receives(301, "back");

    len = sizeof on;
    must(getsockopt(options[0], SOL_SOCKET, SO_PASSCRED, &on, &len));
    check_equal(on, 1);
    len = sizeof wait;
    must(getsockopt(options[0], SOL_SOCKET, SO_RCVTIMEO, &wait, &len));
    check(wait.tv_sec == 3 && wait.tv_usec == 500000, "SO_RCVTIMEO is %ld.%06ld", wait.tv_sec, (long)wait.tv_usec);
    len = sizeof size;
    must(getsockopt(options[1], SOL_SOCKET, SO_SNDBUF, &size, &len));
    check_equal(size, 80000);
    receives(options[0], "with credentials");
    pass();
}
