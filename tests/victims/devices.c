/* Devices that keep no state, and O_PATH descriptors. */
#include "victim.h"

int main(void)
{
    static const char *names[] = { "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom" };
    int fds[5];
    for (int i = 0; i < 5; i++)
        fds[i] = must(open(names[i], O_RDWR | O_NOCTTY | (i == 1 ? O_CLOEXEC : 0)));
    must(mkdir("place", 0755));
    int path = must(open("place", O_PATH | O_CLOEXEC));
    int link = must((symlink("place", "link"), open("link", O_PATH | O_NOFOLLOW)));
    checkpoint_here();
    for (int i = 0; i < 5; i++) {
        struct stat held, named;
        must(fstat(fds[i], &held));
        must(stat(names[i], &named));
        check_equal(held.st_rdev, named.st_rdev);
        check_equal(fcntl(fds[i], F_GETFL) & O_ACCMODE, O_RDWR);
        check_equal(fcntl(fds[i], F_GETFD), i == 1 ? FD_CLOEXEC : 0);
    }
    char byte = 1;
    check_equal(write(fds[0], &byte, 1), 1);
    check_equal(read(fds[0], &byte, 1), 0);
    check_equal(read(fds[1], &byte, 1), 1);
    check_equal(byte, 0);
    check_equal(write(fds[2], &byte, 1), -1);
    check_equal(errno, ENOSPC);
    check_equal(read(fds[4], &byte, 1), 1);
    check_equal(fcntl(path, F_GETFL) & O_PATH, O_PATH);
    check_equal(fcntl(path, F_GETFD), FD_CLOEXEC);
    check_equal(faccessat(path, ".", F_OK, 0), 0);
    struct stat status;
    must(fstat(link, &status));
    check(S_ISLNK(status.st_mode), "the link was followed");
    pass();
}
