/* Unix sockets: pairs of each type with queued data in both directions, options, shut down halves; listening and bound ones. */
#include "victim.h"
#include <sys/socket.h>
#include <sys/un.h>

int main(void)
{
    int stream[2], datagram[2], packet[2], half[2];
    char text[200];
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream));
    must(socketpair(AF_UNIX, SOCK_DGRAM, 0, datagram));
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, packet));
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, half));
    check_equal(write(stream[0], "there", 5), 5);
    check_equal(write(stream[1], "and back", 8), 8);
    check_equal(write(datagram[0], "one", 3), 3);
    check_equal(write(datagram[0], "", 0), 0);
    check_equal(write(datagram[0], "three", 5), 5);
    check_equal(write(packet[1], "four", 4), 4);
    check_equal(write(packet[1], "fifth", 5), 5);
    check_equal(write(half[0], "last", 4), 4);
    must(shutdown(half[0], SHUT_WR));
    int size = 50000, got_size;
    socklen_t length = sizeof size;
    must(setsockopt(stream[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
    must(getsockopt(stream[0], SOL_SOCKET, SO_SNDBUF, &size, &length));

    struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "socket" };
    int listener = must(socket(AF_UNIX, SOCK_STREAM, 0));
    must(bind(listener, (void *)&address, sizeof address));
    must(listen(listener, 5));
    struct sockaddr_un abstract = { .sun_family = AF_UNIX };
    snprintf(abstract.sun_path + 1, 60, "ckpt-victim-%d-%ld", getpid(), (long)time(NULL));
    socklen_t abstract_length = sizeof abstract.sun_family + 1 + strlen(abstract.sun_path + 1);
    int receiver = must(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0));
    must(bind(receiver, (void *)&abstract, abstract_length));

    checkpoint_here();
    check_equal(recv(stream[1], text, sizeof text, 0), 5);
    check(!memcmp(text, "there", 5), "stream");
    check_equal(recv(stream[0], text, sizeof text, 0), 8);
    check_equal(fcntl(stream[0], F_GETFD), FD_CLOEXEC);
    check_equal(recv(datagram[1], text, sizeof text, 0), 3);
    check_equal(recv(datagram[1], text, sizeof text, 0), 0);
    check_equal(recv(datagram[1], text, sizeof text, 0), 5);
    check_equal(recv(packet[0], text, sizeof text, 0), 4);
    check_equal(recv(packet[0], text, sizeof text, 0), 5);
    check(recv(packet[0], text, sizeof text, 0) == -1 && errno == EAGAIN, "a packet too many");
    check_equal(recv(half[1], text, sizeof text, 0), 4);
    check_equal(recv(half[1], text, sizeof text, 0), 0);
    check_equal(write(half[1], "x", 1), 1);
    check_equal(recv(half[0], text, sizeof text, 0), 1);
    length = sizeof got_size;
    must(getsockopt(stream[0], SOL_SOCKET, SO_SNDBUF, &got_size, &length));
    check_equal(got_size, size);
    must(close(stream[0]));
    check_equal(recv(stream[1], text, sizeof text, 0), 0);

    int client = must(socket(AF_UNIX, SOCK_STREAM, 0));
    must(connect(client, (void *)&address, sizeof address));
    int server = must(accept(listener, NULL, NULL));
    check_equal(write(client, "hello", 5), 5);
    check_equal(read(server, text, sizeof text), 5);
    int sender = must(socket(AF_UNIX, SOCK_DGRAM, 0));
    check_equal(sendto(sender, "ping", 4, 0, (void *)&abstract, abstract_length), 4);
    check_equal(recv(receiver, text, sizeof text, 0), 4);
    pass();
}
