/* Internet sockets: what was shut down, an address that is not here, larger buffers than a program may ask for, and unsent datagrams. */
#include "victim.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>

static int udp_to(const struct sockaddr_in *server)
{
    int fd = must(socket(AF_INET, SOCK_DGRAM, 0));
    must(connect(fd, (const void *)server, sizeof *server));
    return fd;
}

static void sends(int fd, int error)
{
    int got = send(fd, "x", 1, MSG_NOSIGNAL) == 1 ? 0 : errno;
    check(got == error, "send: %s instead of %s", strerror(got), strerror(error));
}

static int events(int fd)
{
    struct pollfd ask = { fd, POLLIN | POLLRDHUP, 0 };
    must(poll(&ask, 1, 0));
    return ask.revents;
}

int main(void)
{
    struct sockaddr_in server = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof server;
    int bound = must(socket(AF_INET, SOCK_DGRAM, 0));
    must(bind(bound, (void *)&server, len));
    must(getsockname(bound, (void *)&server, &len));
    int open = udp_to(&server), no_write = udp_to(&server), no_read = udp_to(&server), neither = udp_to(&server);
    must(shutdown(no_write, SHUT_WR));
    must(shutdown(no_read, SHUT_RD));
    must(shutdown(neither, SHUT_RDWR));
    /* ENOTCONN, and yet it is done. */
    int alone = must(socket(AF_INET, SOCK_DGRAM, 0));
    check(shutdown(alone, SHUT_RDWR) == -1, "shutdown without a peer");
    int corked = udp_to(&server), one = 1, zero = 0;
    must(setsockopt(corked, IPPROTO_UDP, UDP_CORK, &one, sizeof one));

    /* An address of the documentation (RFC 5737), with the option taken back. */
    int far = must(socket(AF_INET, SOCK_STREAM, 0));
    must(setsockopt(far, IPPROTO_IP, IP_FREEBIND, &one, sizeof one));
    struct sockaddr_in there = { .sin_family = AF_INET, .sin_addr.s_addr = inet_addr("192.0.2.7") };
    must(bind(far, (void *)&there, sizeof there));
    must(getsockname(far, (void *)&there, &len));
    must(setsockopt(far, IPPROTO_IP, IP_FREEBIND, &zero, sizeof zero));
    must(listen(far, 3));

    int large = must(socket(AF_INET, SOCK_DGRAM, 0)), wanted = 64 << 20, size;
    int forced = setsockopt(large, SOL_SOCKET, SO_RCVBUFFORCE, &wanted, sizeof wanted) == 0;

    checkpoint_here();
    sends(open, 0);
    sends(no_write, EPIPE);
    sends(no_read, 0);
    sends(neither, EPIPE);
    check_equal(events(open), 0);
    check_equal(events(no_write), 0);
    check_equal(events(no_read), POLLIN | POLLRDHUP);
    check_equal(events(neither), POLLIN | POLLRDHUP | POLLHUP);
    check_equal(events(alone), POLLIN | POLLRDHUP | POLLHUP);
    sends(corked, 0);
    must(setsockopt(corked, IPPROTO_UDP, UDP_CORK, &zero, sizeof zero));
    struct sockaddr_in name;
    len = sizeof name;
    must(getsockname(far, (void *)&name, &len));
    check(!memcmp(&name, &there, sizeof name), "another address");
    len = sizeof size;
    must(getsockopt(far, IPPROTO_IP, IP_FREEBIND, &size, &len));
    check_equal(size, 0);
    must(getsockopt(large, SOL_SOCKET, SO_RCVBUF, &size, &len));
    if (forced)
        check_equal(size, 2 * wanted);
    /* Three datagrams came: of `open`, `no_read` and `corked`. */
    char byte;
    for (int i = 0; i < 3; i++)
        check_equal(must(recv(bound, &byte, 1, 0)), 1);
    pass();
}
