/* Sockets that are not connected: listening TCP, bound UDP, new ones; their options. On loopback, on ports that the kernel chose. */
#include "victim.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static int bound(int type, struct sockaddr_in *address)
{
    int fd = must(socket(AF_INET, type, 0)), one = 1;
    must(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
    *address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof *address;
    must(bind(fd, (void *)address, length));
    must(getsockname(fd, (void *)address, &length));
    return fd;
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t length = sizeof value;
    must(getsockopt(fd, level, name, &value, &length));
    return value;
}

int main(void)
{
    struct sockaddr_in tcp, udp;
    int listener = bound(SOCK_STREAM | SOCK_CLOEXEC, &tcp), datagram = bound(SOCK_DGRAM, &udp), one = 1, size = 70000;
    must(listen(listener, 17));
    must(setsockopt(datagram, SOL_SOCKET, SO_BROADCAST, &one, sizeof one));
    must(setsockopt(datagram, SOL_SOCKET, SO_RCVBUF, &size, sizeof size));
    size = option(datagram, SOL_SOCKET, SO_RCVBUF);
    int fresh = must(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    must(setsockopt(fresh, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one));

    checkpoint_here();
    check_equal(option(listener, SOL_SOCKET, SO_REUSEADDR), 1);
    check_equal(option(listener, SOL_SOCKET, SO_ACCEPTCONN), 1);
    check_equal(fcntl(listener, F_GETFD), FD_CLOEXEC);
    check_equal(option(datagram, SOL_SOCKET, SO_BROADCAST), 1);
    check_equal(option(datagram, SOL_SOCKET, SO_RCVBUF), size);
    check_equal(option(fresh, IPPROTO_TCP, TCP_NODELAY), 1);
    struct sockaddr_in now;
    socklen_t length = sizeof now;
    must(getsockname(listener, (void *)&now, &length));
    check_equal(now.sin_port, tcp.sin_port);
    int client = must(socket(AF_INET, SOCK_STREAM, 0));
    must(connect(client, (void *)&tcp, sizeof tcp));
    int server = must(accept(listener, NULL, NULL));
    char text[16];
    check_equal(write(client, "hello", 5), 5);
    check_equal(read(server, text, sizeof text), 5);
    int sender = must(socket(AF_INET, SOCK_DGRAM, 0));
    check_equal(sendto(sender, "ping", 4, 0, (void *)&udp, sizeof udp), 4);
    check_equal(recv(datagram, text, sizeof text, 0), 4);
    pass();
}
