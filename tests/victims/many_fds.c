/* Every number up to the limit is taken: a save needs some for itself. */
#include "victim.h"
#include <sys/resource.h>

int main(void)
{
    struct rlimit limit;
    must(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = 1024 < limit.rlim_max ? 1024 : limit.rlim_max;
    must(setrlimit(RLIMIT_NOFILE, &limit));
    int first = must(open("data", O_CREAT | O_RDWR, 0600));
    int top = first;
    for (int fd; (fd = open("data", O_RDWR)) != -1; top = fd)
        must(lseek(fd, fd, SEEK_SET));
    check_equal(errno, EMFILE);
    check_equal(top, limit.rlim_cur - 1);
    say_ready();
    wait_for_go(1);
    for (int fd = first + 1; fd <= top; fd++)
        check_equal(lseek(fd, 0, SEEK_CUR), fd);
    check(open("data", O_RDONLY) == -1 && errno == EMFILE, "a descriptor is free");
    pass();
}
