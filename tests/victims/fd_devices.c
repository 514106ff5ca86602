/* Devices that keep no state. */
#include "victim.h"
#include <sys/sysmacros.h>

int main(void)
{
    const char *names[] = { "null", "zero", "full", "random", "urandom" };
    int fds[5], minors[] = { 3, 5, 7, 8, 9 };
    for (int i = 0; i < 5; i++) {
        char name[64];
        snprintf(name, sizeof name, "/dev/%s", names[i]);
        fds[i] = must(open(name, i % 2 ? O_RDONLY | O_CLOEXEC : O_RDWR | O_NONBLOCK));
    }
    checkpoint_here();
    char bytes[8] = "xxxxxxx";
    for (int i = 0; i < 5; i++) {
        struct stat stat;
        must(fstat(fds[i], &stat));
        check_equal(stat.st_rdev, makedev(1, minors[i]));
        check_equal(must(fcntl(fds[i], F_GETFD)), i % 2 ? FD_CLOEXEC : 0);
        check_equal(must(fcntl(fds[i], F_GETFL)) & (O_ACCMODE | O_NONBLOCK), i % 2 ? O_RDONLY : O_RDWR | O_NONBLOCK);
    }
    check_equal(must(read(fds[0], bytes, 8)), 0);
    check_equal(must(read(fds[1], bytes, 8)), 8);
    check(!memcmp(bytes, "\0\0\0\0\0\0\0\0", 8), "/dev/zero");
    check(write(fds[2], "x", 1) == -1 && errno == ENOSPC, "/dev/full");
    check_equal(must(read(fds[4], bytes, 8)), 8);
    pass();
}
