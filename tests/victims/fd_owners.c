/* Owner, mode and times of what is made again: deleted files, memfds, pipes, sockets and their paths. An ordinary user has nobody to give a file to. */
#include "victim.h"
#include <sys/socket.h>
#include <sys/un.h>

static int fds[8], count;
static struct stat before[8];

static void remember(int fd, mode_t mode, int times)
{
    if (geteuid() == 0)
        must(fchown(fd, 1 + count, 100 + count));
    must(fchmod(fd, mode));
    struct timespec then[2] = { { 1000000000, 5 }, { 1111111111, 7 } };
    if (times)
        must(futimens(fd, then));
    must(fstat(fd, &before[count]));
    fds[count++] = fd;
}

int main(void)
{
    int deleted = must(open("deleted", O_RDWR | O_CREAT, 0640)), pipes[2], pair[2];
    must(write(deleted, "x", 1));
    must(unlink("deleted"));
    remember(deleted, 04604, 1);
    int memory = must(memfd_create("memory", 0));
    remember(memory, 0610, 1);
    must(pipe(pipes));
    remember(pipes[1], 0622, 0);
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    remember(pair[0], 0707, 0);
    remember(pair[1], 0701, 0);
    int udp = must(socket(AF_INET, SOCK_DGRAM, 0));
    remember(udp, 0711, 0);
    int node = must(socket(AF_UNIX, SOCK_STREAM, 0));
    struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "node" };
    must(bind(node, (void *)&address, sizeof address));
    must(listen(node, 1));
    must(chmod("node", 0640));
    if (geteuid() == 0)
        must(chown("node", 21, 22));
    struct stat at_path, now;
    must(lstat("node", &at_path));

    checkpoint_here();
    for (int i = 0; i < count; i++) {
        must(fstat(fds[i], &now));
        check(now.st_uid == before[i].st_uid && now.st_gid == before[i].st_gid, "owner of %d: %d:%d", i, now.st_uid, now.st_gid);
        check_equal(now.st_mode, before[i].st_mode);
        if (i < 2) {
            check_equal(now.st_mtim.tv_sec, before[i].st_mtim.tv_sec);
            check_equal(now.st_mtim.tv_nsec, before[i].st_mtim.tv_nsec);
        }
    }
    must(lstat("node", &now));
    check(now.st_uid == at_path.st_uid && now.st_gid == at_path.st_gid, "owner of the path: %d:%d", now.st_uid, now.st_gid);
    check_equal(now.st_mode, at_path.st_mode);
    pass();
}
