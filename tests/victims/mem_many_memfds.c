/* More memfds than there are numbers between those of the process: each comes back under its own, on top of one another, and twice open. */
#include "pattern.h"

enum { COUNT = 200 };

int main(void)
{
    for (int i = 0; i < COUNT; i++) {
        char name[32];
        snprintf(name, sizeof name, "number %d", i);
        int fd = must(memfd_create(name, i % 2 ? MFD_CLOEXEC : 0));
        check_equal(write(fd, name, strlen(name)), strlen(name));
        if (i % 5 == 0) {
            char path[64];
            snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
            int again = must(open(path, O_RDONLY));
            must(dup2(again, 500 + i));
            must(close(again));
        }
    }
    checkpoint_here();
    for (int i = 0; i < COUNT; i++) {
        char name[32], text[64] = "", path[64], link[64] = "";
        snprintf(name, sizeof name, "number %d", i);
        check_equal(pread(3 + i, text, sizeof text, 0), strlen(name));
        check(!strcmp(text, name), "%s holds %s", name, text);
        check_equal(fcntl(3 + i, F_GETFD), i % 2 ? FD_CLOEXEC : 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", 3 + i);
        check(readlink(path, link, sizeof link - 1) > 0 && strstr(link, name), "%s is called %s", name, link);
        if (i % 5 == 0) {
            memset(text, 0, sizeof text);
            check_equal(read(500 + i, text, sizeof text), strlen(name));
            check(!strcmp(text, name), "%s, again, holds %s", name, text);
            check_equal(fcntl(500 + i, F_GETFL) & O_ACCMODE, O_RDONLY);
        }
    }
    check_equal(fcntl(3 + COUNT, F_GETFD), -1);
    pass();
}
