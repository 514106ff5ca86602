/* Named pipes, with unread bytes. */
#include "victim.h"

int main(void)
{
    must(mkfifo("a fifo", 0600));
    int reader = must(open("a fifo", O_RDONLY | O_NONBLOCK));
    int writer = must(open("a fifo", O_WRONLY));
    check_equal(write(writer, "unread", 6), 6);
    checkpoint_here();
    char text[64];
    check_equal(fcntl(reader, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    check_equal(read(reader, text, sizeof text), 6);
    check(!memcmp(text, "unread", 6), "contents");
    struct stat named, held;
    must(stat("a fifo", &named));
    must(fstat(reader, &held));
    check(named.st_ino == held.st_ino, "not the fifo of that name");
    check_equal(write(writer, "more", 4), 4);
    check_equal(read(reader, text, sizeof text), 4);
    must(close(writer));
    check_equal(read(reader, text, sizeof text), 0);
    pass();
}
