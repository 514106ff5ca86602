/* A terminal whose controlling side was closed: a program that outlived its terminal has such ones. */
#include "victim.h"
#include <signal.h>
#include <termios.h>

int main(void)
{
    signal(SIGHUP, SIG_IGN);
    int master = must(posix_openpt(O_RDWR | O_NOCTTY));
    must(grantpt(master));
    must(unlockpt(master));
    int slave = must(open(ptsname(master), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)), twin = must(dup(slave));
    int reader = must(open(ptsname(master), O_RDONLY | O_NOCTTY));
    must(close(master));
    checkpoint_here();
    char byte;
    struct termios modes;
    for (int i = 0; i < 3; i++) {
        int fd = i == 0 ? slave : i == 1 ? twin : reader;
        check_equal(must(read(fd, &byte, 1)), 0);
        check(tcgetattr(fd, &modes) == -1 && errno == EIO, "tcgetattr: %s", strerror(errno));
        check_equal(must(fcntl(fd, F_GETFL)) & O_NONBLOCK, i == 2 ? 0 : O_NONBLOCK);
        check_equal(must(fcntl(fd, F_GETFD)), i == 0 ? FD_CLOEXEC : 0);
    }
    check(write(slave, "x", 1) == -1 && errno == EIO, "write: %s", strerror(errno));
    pass();
}
