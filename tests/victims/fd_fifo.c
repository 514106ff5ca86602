/* Named pipes: both ends with unread bytes, a reader to whom nobody has come, one whose writer has left. */
#include "victim.h"
#include <poll.h>
#include <sys/ioctl.h>

static int events(int fd)
{
    struct pollfd entry = { .fd = fd, .events = POLLIN };
    must(poll(&entry, 1, 0));
    return entry.revents;
}

int main(void)
{
    must(mkfifo("both", 0600));
    int reader = must(open("both", O_RDONLY | O_NONBLOCK));
    int writer = must(open("both", O_WRONLY | O_CLOEXEC));
    must(fcntl(reader, F_SETFL, 0));
    must(fcntl(writer, F_SETPIPE_SZ, 16384));
    must(write(writer, "unread", 6));

    must(mkfifo("waiting", 0600));
    int waiting = must(open("waiting", O_RDONLY | O_NONBLOCK));

    must(mkfifo("left", 0600));
    int left = must(open("left", O_RDONLY | O_NONBLOCK));
    int leaving = must(open("left", O_WRONLY));
    must(write(leaving, "bye", 3));
    must(close(leaving));

    must(mkfifo("rdwr", 0600));
    int rdwr = must(open("rdwr", O_RDWR));
    must(write(rdwr, "self", 4));

    checkpoint_here();
    char text[64];
    check_equal(must(fcntl(reader, F_GETFL)) & (O_ACCMODE | O_NONBLOCK), O_RDONLY);
    check_equal(must(fcntl(writer, F_GETFL)) & (O_ACCMODE | O_NONBLOCK), O_WRONLY);
    check_equal(must(fcntl(writer, F_GETFD)), FD_CLOEXEC);
    check_equal(must(fcntl(writer, F_GETPIPE_SZ)), 16384);
    check_equal(must(read(reader, text, sizeof text)), 6);
    check(!memcmp(text, "unread", 6), "contents");
    must(write(writer, "more", 4));
    check_equal(must(read(reader, text, sizeof text)), 4);

    check_equal(events(waiting), 0);
    check_equal(must(fcntl(waiting, F_GETFL)) & O_NONBLOCK, O_NONBLOCK);
    int late = must(open("waiting", O_WRONLY | O_NONBLOCK));
    must(write(late, "hello", 5));
    check_equal(must(read(waiting, text, sizeof text)), 5);

    check_equal(events(left), POLLIN | POLLHUP);
    check_equal(must(read(left, text, sizeof text)), 3);
    check_equal(must(read(left, text, sizeof text)), 0);

    check_equal(must(read(rdwr, text, sizeof text)), 4);
    pass();
}
