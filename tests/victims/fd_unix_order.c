/* Unix sockets that depend on each other by their names: datagram sockets with lower numbers than what they are connected to, chains of them, one that is
 * connected to itself; two sockets that were bound to one path; connections of the process with itself; and what was shut down. */
#include "victim.h"
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

static socklen_t address(struct sockaddr_un *sun, const char *name)
{
    memset(sun, 0, sizeof *sun);
    sun->sun_family = AF_UNIX;
    memcpy(sun->sun_path + (*name == '@'), name + (*name == '@'), strlen(name) - (*name == '@'));
    return offsetof(struct sockaddr_un, sun_path) + strlen(name) + (*name != '@');
}

static void bind_to(int fd, const char *name)
{
    struct sockaddr_un sun;
    socklen_t len = address(&sun, name);
    must(bind(fd, (void *)&sun, len));
}

static void connect_to(int fd, const char *name)
{
    struct sockaddr_un sun;
    socklen_t len = address(&sun, name);
    must(connect(fd, (void *)&sun, len));
}

static void arrives(int from, int to, const char *text)
{
    char got[64] = "";
    check_equal(must(send(from, text, strlen(text), MSG_NOSIGNAL)), strlen(text));
    check_equal(must(recv(to, got, sizeof got, MSG_DONTWAIT)), strlen(text));
    check(!strcmp(got, text), "%s arrived as %s", text, got);
}

static void named(int fd, int peer, const char *name)
{
    struct sockaddr_un sun = { 0 };
    socklen_t len = sizeof sun;
    must((peer ? getpeername : getsockname)(fd, (void *)&sun, &len));
    check(!strcmp(sun.sun_path, name), "%s of %d is %s, not %s", peer ? "peer" : "name", fd, sun.sun_path, name);
}

static void fails(long result, int with)
{
    int error = errno;
    check(result == -1 && error == with, "result %ld, %s instead of %s", result, strerror(error), strerror(with));
}

static int datagram(void)
{
    return must(socket(AF_UNIX, SOCK_DGRAM, 0));
}

int main(void)
{
    /* Lower numbers first. */
    int early[4], pushed = datagram(), self = datagram(), gone_client = datagram(), left_client = datagram();
    for (int i = 0; i < 4; i++)
        early[i] = datagram();
    int middle = datagram(), server = datagram(), gone = datagram();
    bind_to(server, "server");
    bind_to(middle, "middle");
    bind_to(self, "self");
    bind_to(gone, "gone");
    /* A chain: a socket that is connected takes no other one's connection any more. */
    connect_to(early[0], "middle");
    connect_to(early[1], "middle");
    connect_to(middle, "server");
    connect_to(early[2], "server");
    connect_to(self, "self");
    /* Its path is removed; who is connected stays so. */
    connect_to(gone_client, "gone");
    must(unlink("gone"));
    /* Its peer has ended, and nobody takes its name. */
    int left = datagram();
    bind_to(left, "left");
    connect_to(left_client, "left");
    must(close(left));
    must(unlink("left"));
    must(send(early[2], "queued", 6, 0));
    /* Shut down for sending, then for receiving. */
    connect_to(pushed, "server");
    must(shutdown(pushed, SHUT_WR));
    int deaf = datagram();
    bind_to(deaf, "deaf");
    must(shutdown(deaf, SHUT_RD));

    /* Two listeners under one name: the first one's file was moved away, and then over that of the second one. */
    int first = must(socket(AF_UNIX, SOCK_STREAM, 0)), second = must(socket(AF_UNIX, SOCK_STREAM, 0));
    bind_to(first, "same");
    must(listen(first, 4));
    must(rename("same", "kept"));
    bind_to(second, "same");
    must(listen(second, 4));
    must(rename("kept", "same"));
    /* Two datagram sockets of one name, each with a client. */
    int old = datagram(), old_client = datagram(), new = datagram(), new_client = datagram();
    bind_to(old, "twice");
    connect_to(old_client, "twice");
    must(unlink("twice"));
    bind_to(new, "twice");
    connect_to(new_client, "twice");

    /* Connections with itself: the listener stays, the listener is gone but its path is not, and both are gone. */
    int ends[3][2];
    const char *names[3] = { "listens", "stays", "went" };
    int listeners[3];
    for (int i = 0; i < 3; i++) {
        listeners[i] = must(socket(AF_UNIX, i == 1 ? SOCK_SEQPACKET : SOCK_STREAM, 0));
        bind_to(listeners[i], names[i]);
        must(listen(listeners[i], 2));
        ends[i][0] = must(socket(AF_UNIX, i == 1 ? SOCK_SEQPACKET : SOCK_STREAM, 0));
        if (i == 1)
            bind_to(ends[i][0], "client");
        connect_to(ends[i][0], names[i]);
        ends[i][1] = must(accept(listeners[i], NULL, NULL));
        must(send(ends[i][0], "early", 5, 0));
        if (i > 0)
            must(close(listeners[i]));
    }
    must(unlink("went"));
    must(shutdown(ends[2][1], SHUT_RD));
    /* An abstract name whose listener is gone. */
    char abstract[64];
    snprintf(abstract, sizeof abstract, "@victim-order-%d", getpid());
    int hidden[2], listener = must(socket(AF_UNIX, SOCK_STREAM, 0));
    bind_to(listener, abstract);
    must(listen(listener, 1));
    hidden[0] = must(socket(AF_UNIX, SOCK_STREAM, 0));
    connect_to(hidden[0], abstract);
    hidden[1] = must(accept(listener, NULL, NULL));
    must(close(listener));

    checkpoint_here();
    char text[64];
    check_equal(must(recv(server, text, sizeof text, MSG_DONTWAIT)), 6);
    for (int i = 0; i < 2; i++) {
        /* Connected to server by now, middle takes from nobody else; who came before stays connected. */
        fails(send(early[i], "x", 1, MSG_NOSIGNAL), EPERM);
        named(early[i], 1, "middle");
    }
    arrives(middle, server, "through");
    arrives(early[2], server, "direct");
    fails(send(early[3], "x", 1, MSG_NOSIGNAL), ENOTCONN);
    arrives(self, self, "to itself");
    arrives(gone_client, gone, "without a path");
    named(gone, 0, "gone");
    check(access("gone", F_OK) == -1, "a removed path is back");
    fails(send(left_client, "x", 1, MSG_NOSIGNAL), ECONNREFUSED);
    check(access("left", F_OK) == -1, "the path of a closed socket is back");
    fails(send(pushed, "x", 1, MSG_NOSIGNAL), EPIPE);
    struct pollfd ask = { deaf, POLLIN | POLLRDHUP, 0 };
    must(poll(&ask, 1, 0));
    check_equal(ask.revents, POLLIN | POLLRDHUP);
    connect_to(early[3], "server");
    arrives(early[3], server, "now");

    int client = must(socket(AF_UNIX, SOCK_STREAM, 0));
    connect_to(client, "same");
    must(fcntl(first, F_SETFL, O_NONBLOCK));
    must(close(must(accept(first, NULL, NULL))));
    must(fcntl(second, F_SETFL, O_NONBLOCK));
    fails(accept(second, NULL, NULL), EAGAIN);
    named(second, 0, "same");
    arrives(old_client, old, "the old one");
    arrives(new_client, new, "the new one");
    int another = datagram();
    connect_to(another, "twice");
    arrives(another, new, "by the path");

    for (int i = 0; i < 3; i++) {
        named(ends[i][1], 0, names[i]);
        named(ends[i][0], 1, names[i]);
        memset(text, 0, sizeof text);
        check_equal(must(recv(ends[i][1], text, sizeof text, MSG_DONTWAIT)), 5);
        check(!strcmp(text, "early"), "%s", text);
        arrives(ends[i][1], ends[i][0], "back");
    }
    named(ends[1][1], 1, "client");
    arrives(ends[0][0], ends[0][1], "there");
    struct stat stat;
    must(lstat("stays", &stat));
    check(S_ISSOCK(stat.st_mode), "mode of the path %o", stat.st_mode);
    must(lstat("client", &stat));
    check(access("went", F_OK) == -1, "a removed path is back");
    fails(send(ends[2][0], "x", 1, MSG_NOSIGNAL), EPIPE);
    int late = must(socket(AF_UNIX, SOCK_STREAM, 0));
    connect_to(late, "listens");
    must(close(must(accept(listeners[0], NULL, NULL))));
    arrives(hidden[0], hidden[1], "hidden");
    char got[64] = "";
    struct sockaddr_un sun = { 0 };
    socklen_t len = sizeof sun;
    must(getsockname(hidden[1], (void *)&sun, &len));
    memcpy(got, sun.sun_path + 1, len - 3);
    check(!strcmp(got, abstract + 1), "%s", got);
    pass();
}
