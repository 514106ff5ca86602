/* Every descriptor number in use: there is no free one for a save. */
#include "victim.h"
#include <sys/resource.h>

int main(void)
{
    struct rlimit limit;
    must(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = 200;
    must(setrlimit(RLIMIT_NOFILE, &limit));
    /* What the wait needs exists before. */
    int count = 0, fd, fds[200];
    while ((fd = open("/dev/zero", O_RDONLY)) >= 0)
        fds[count++] = fd;
    check_equal(errno, EMFILE);

    checkpoint_here();
    check(open("/dev/null", O_RDONLY) == -1 && errno == EMFILE, "a number is free");
    for (int i = 0; i < count; i++) {
        char byte = 1;
        check_equal(must(read(fds[i], &byte, 1)), 1);
        check_equal(byte, 0);
    }
    must(getrlimit(RLIMIT_NOFILE, &limit));
    check_equal(limit.rlim_cur, 200);
    pass();
}
