/* Unix sockets with names: that listen, that wait for datagrams, that are connected to a name; paths and abstract names. */
#include "victim.h"
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

static int bound(int type, const char *name)
{
    struct sockaddr_un sun;
    socklen_t len = address(&sun, name);
    int fd = must(socket(AF_UNIX, type, 0));
    must(bind(fd, (void *)&sun, len));
    return fd;
}

static int connected(int type, const char *name)
{
    struct sockaddr_un sun;
    socklen_t len = address(&sun, name);
    int fd = must(socket(AF_UNIX, type, 0));
    must(connect(fd, (void *)&sun, len));
    return fd;
}

static void answers(int listener, const char *name, int type)
{
    int client = connected(type, name), server = must(accept(listener, NULL, NULL));
    char text[8] = "";
    must(write(client, "hi", 2));
    check_equal(must(read(server, text, sizeof text)), 2);
    must(close(client));
    must(close(server));
}

int main(void)
{
    char abstract[64], absolute[5000];
    snprintf(abstract, sizeof abstract, "@victim-%d", getpid());
    snprintf(absolute, sizeof absolute, "%s/absolute", victim_dir);
    int relative = bound(SOCK_STREAM | SOCK_CLOEXEC, "relative");
    must(chmod("relative", 0751));
    must(listen(relative, 3));
    int full = 0;
    if (strlen(absolute) < sizeof ((struct sockaddr_un *)0)->sun_path) {
        full = bound(SOCK_SEQPACKET | SOCK_NONBLOCK, absolute);
        must(listen(full, 128));
    }
    int hidden = bound(SOCK_STREAM, abstract);
    must(listen(hidden, 5));
    int gone = bound(SOCK_STREAM, "unlinked");
    must(listen(gone, 1));
    must(unlink("unlinked"));
    int box = bound(SOCK_DGRAM, "box");
    int sender = connected(SOCK_DGRAM, "box");
    must(send(sender, "queued", 6, 0));
    must(send(sender, "twice", 5, 0));
    int unbound = must(socket(AF_UNIX, SOCK_STREAM, 0));

    checkpoint_here();
    check_equal(must(fcntl(relative, F_GETFD)), FD_CLOEXEC);
    answers(relative, "relative", SOCK_STREAM);
    struct stat stat;
    must(lstat("relative", &stat));
    check_equal(stat.st_mode, S_IFSOCK | 0751);
    if (full) {
        check_equal(must(fcntl(full, F_GETFL)) & O_NONBLOCK, O_NONBLOCK);
        answers(full, absolute, SOCK_SEQPACKET);
    }
    answers(hidden, abstract, SOCK_STREAM);
    check(access("unlinked", F_OK) == -1, "a removed path is back");
    struct sockaddr_un sun;
    socklen_t len = sizeof sun;
    must(getsockname(gone, (void *)&sun, &len));
    check(!strcmp(sun.sun_path, "unlinked"), "name %s", sun.sun_path);
    char text[64] = "";
    check_equal(must(recv(box, text, sizeof text, MSG_DONTWAIT)), 6);
    check_equal(must(recv(box, text, sizeof text, MSG_DONTWAIT)), 5);
    check(!memcmp(text, "twice", 5), "second datagram");
    must(send(sender, "again", 5, 0));
    check_equal(must(recv(box, text, sizeof text, MSG_DONTWAIT)), 5);
    len = address(&sun, "relative");
    must(connect(unbound, (void *)&sun, len));
    pass();
}
