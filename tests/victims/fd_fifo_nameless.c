/* Named pipes that have lost their names: nobody else can come to them, and they go on as pipes. */
#include "victim.h"
#include <poll.h>

int main(void)
{
    must(mkfifo("one", 0640));
    int both = must(open("one", O_RDWR | O_NONBLOCK)), reader = must(open("one", O_RDONLY)), writer = must(open("one", O_WRONLY | O_CLOEXEC));
    must(unlink("one"));
    must(write(writer, "unread", 6));
    /* One whose writer is gone. */
    must(mkfifo("two", 0600));
    int last = must(open("two", O_RDONLY | O_NONBLOCK)), gone = must(open("two", O_WRONLY));
    must(unlink("two"));
    must(write(gone, "rest", 4));
    must(close(gone));
    checkpoint_here();
    char text[16] = "";
    check_equal(must(read(reader, text, sizeof text)), 6);
    check(!strcmp(text, "unread"), "%s", text);
    check(read(both, text, 1) == -1 && errno == EAGAIN, "read: %s", strerror(errno));
    must(write(both, "x", 1));
    check_equal(must(read(reader, text, sizeof text)), 1);
    must(write(writer, "y", 1));
    check_equal(must(read(both, text, sizeof text)), 1);
    check_equal(must(fcntl(writer, F_GETFD)), FD_CLOEXEC);
    struct stat stat;
    must(fstat(reader, &stat));
    check_equal(stat.st_mode, S_IFIFO | 0640);
    memset(text, 0, sizeof text);
    check_equal(must(read(last, text, sizeof text)), 4);
    check(!strcmp(text, "rest"), "%s", text);
    check_equal(must(read(last, text, sizeof text)), 0);
    check(access("one", F_OK) == -1, "a removed name is back");
    pass();
}
