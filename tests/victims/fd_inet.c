/* TCP sockets that listen or are just there, UDP sockets, v4 and v6, with their options. */
#include "victim.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static int number(int fd, int level, int name)
{
    int value = 0;
    socklen_t len = sizeof value;
    must(getsockopt(fd, level, name, &value, &len));
    return value;
}

static void set(int fd, int level, int name, int value)
{
    must(setsockopt(fd, level, name, &value, sizeof value));
}

static int bound(int domain, int type)
{
    int fd = must(socket(domain, type, 0));
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    if (domain == AF_INET)
        must(bind(fd, (void *)&v4, sizeof v4));
    else
        must(bind(fd, (void *)&v6, sizeof v6));
    return fd;
}

static struct sockaddr_storage name(int fd, socklen_t *len)
{
    struct sockaddr_storage address;
    memset(&address, 0, sizeof address);
    *len = sizeof address;
    must(getsockname(fd, (void *)&address, len));
    return address;
}

static void answers(int listener, struct sockaddr_storage address, socklen_t len)
{
    int client = must(socket(address.ss_family, SOCK_STREAM, 0));
    must(connect(client, (void *)&address, len));
    int server = must(accept(listener, NULL, NULL));
    must(write(client, "hi", 2));
    char text[8];
    check_equal(must(read(server, text, sizeof text)), 2);
    /* This end closes first, and its port lingers. */
    must(close(server));
    must(close(client));
}

int main(void)
{
    int v4 = bound(AF_INET, SOCK_STREAM | SOCK_CLOEXEC);
    set(v4, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(v4, IPPROTO_TCP, TCP_KEEPIDLE, 77);
    set(v4, IPPROTO_TCP, TCP_NODELAY, 1);
    set(v4, SOL_SOCKET, SO_RCVBUF, 50000);
    /* Else the port would be blocked by the connection below, which lingers, whoever wants it again. */
    set(v4, SOL_SOCKET, SO_REUSEADDR, 1);
    struct linger linger = { 1, 5 };
    must(setsockopt(v4, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    must(listen(v4, 9));
    socklen_t v4_len, v6_len, udp_len;
    struct sockaddr_storage v4_name = name(v4, &v4_len), v6_name = { 0 };
    answers(v4, v4_name, v4_len);

    int v6 = socket(AF_INET6, SOCK_STREAM, 0), has_v6 = v6 >= 0;
    if (has_v6) {
        must(close(v6));
        v6 = must(socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0));
        set(v6, IPPROTO_IPV6, IPV6_V6ONLY, 1);
        set(v6, SOL_SOCKET, SO_REUSEADDR, 1);
        struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
        must(bind(v6, (void *)&any, sizeof any));
        must(listen(v6, 1));
        v6_name = name(v6, &v6_len);
    }
    int fresh = must(socket(AF_INET, SOCK_STREAM, 0));
    int only_bound = bound(AF_INET, SOCK_STREAM);
    struct sockaddr_storage bound_name = name(only_bound, &v6_len);

    int udp = bound(AF_INET, SOCK_DGRAM);
    set(udp, SOL_SOCKET, SO_BROADCAST, 1);
    set(udp, IPPROTO_IP, IP_TOS, 0x10);
    set(udp, IPPROTO_IP, IP_TTL, 33);
    struct sockaddr_storage udp_name = name(udp, &udp_len);
    int talker = must(socket(AF_INET, SOCK_DGRAM, 0));
    must(connect(talker, (void *)&udp_name, udp_len));
    socklen_t talker_len;
    struct sockaddr_storage talker_name = name(talker, &talker_len);

    checkpoint_here();
    check_equal(must(fcntl(v4, F_GETFD)), FD_CLOEXEC);
    struct sockaddr_storage now = name(v4, &v4_len);
    check(!memcmp(&now, &v4_name, v4_len), "address of v4");
    check_equal(number(v4, SOL_SOCKET, SO_KEEPALIVE), 1);
    check_equal(number(v4, IPPROTO_TCP, TCP_KEEPIDLE), 77);
    check_equal(number(v4, IPPROTO_TCP, TCP_NODELAY), 1);
    check_equal(number(v4, SOL_SOCKET, SO_RCVBUF), 100000);
    check_equal(number(v4, SOL_SOCKET, SO_REUSEADDR), 1);
    check_equal(number(only_bound, SOL_SOCKET, SO_REUSEADDR), 0);
    socklen_t len = sizeof linger;
    must(getsockopt(v4, SOL_SOCKET, SO_LINGER, &linger, &len));
    check(linger.l_onoff == 1 && linger.l_linger == 5, "SO_LINGER");
    struct tcp_info info;
    len = sizeof info;
    must(getsockopt(v4, IPPROTO_TCP, TCP_INFO, &info, &len));
    check_equal(info.tcpi_sacked, 9); /* of a listening socket: the backlog */
    answers(v4, v4_name, v4_len);
    if (has_v6) {
        check_equal(number(v6, IPPROTO_IPV6, IPV6_V6ONLY), 1);
        check_equal(number(v6, SOL_SOCKET, SO_REUSEADDR), 1);
        check_equal(must(fcntl(v6, F_GETFL)) & O_NONBLOCK, O_NONBLOCK);
        answers(v6, v6_name, sizeof(struct sockaddr_in6));
    }
    must(connect(fresh, (void *)&v4_name, v4_len));
    now = name(only_bound, &len);
    check(!memcmp(&now, &bound_name, len), "address of a socket that is only bound");

    now = name(udp, &udp_len);
    check(!memcmp(&now, &udp_name, udp_len), "address of udp");
    check_equal(number(udp, SOL_SOCKET, SO_BROADCAST), 1);
    check_equal(number(udp, IPPROTO_IP, IP_TOS), 0x10);
    check_equal(number(udp, IPPROTO_IP, IP_TTL), 33);
    now = name(talker, &talker_len);
    check(!memcmp(&now, &talker_name, talker_len), "address of the talker");
    check_equal(must(send(talker, "datagram", 8, 0)), 8);
    char text[64];
    check_equal(must(recv(udp, text, sizeof text, 0)), 8);
    pass();
}
