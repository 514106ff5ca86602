/* Thousands of descriptors, up to the highest number there can be. */
#include "victim.h"
#include <sys/eventfd.h>
#include <sys/resource.h>

#define COUNT 3000

int main(void)
{
    struct rlimit limit;
    must(getrlimit(RLIMIT_NOFILE, &limit));
    rlim_t wanted = 4096;
    if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < wanted)
        wanted = limit.rlim_max;
    limit.rlim_cur = wanted;
    must(setrlimit(RLIMIT_NOFILE, &limit));
    int file = must(open("file", O_CREAT | O_RDWR, 0644));
    int count = wanted < COUNT + 100 ? (int)wanted - 100 : COUNT;
    int fds[COUNT];
    for (int i = 0; i < count; i++) {
        if (i % 3 == 0)
            fds[i] = must(eventfd(i, 0));
        else if (i % 3 == 1)
            fds[i] = must(open("file", O_RDWR));
        else
            fds[i] = must(dup(fds[i - 1]));
        if (i % 3 == 1)
            must(lseek(fds[i], i, SEEK_SET));
    }
    int last = must(fcntl(file, F_DUPFD, wanted - 1));
    check_equal(last, wanted - 1);

    checkpoint_here();
    must(getrlimit(RLIMIT_NOFILE, &limit));
    check_equal(limit.rlim_cur, wanted);
    for (int i = 0; i < count; i++) {
        uint64_t value = 0;
        if (i % 3 == 0) {
            if (i > 0)
                check_equal(must(read(fds[i], &value, 8)), 8);
            check_equal(value, i);
        } else {
            check_equal(must(lseek(fds[i], 0, SEEK_CUR)), i - (i % 3 == 2) + (i % 3 == 2 ? 10000 : 0));
            if (i % 3 == 1)
                must(lseek(fds[i], 10000, SEEK_CUR));
        }
    }
    must(lseek(file, 77, SEEK_SET));
    check_equal(must(lseek(last, 0, SEEK_CUR)), 77);
    check(fcntl(last, F_DUPFD, last) == -1, "the limit is another");
    pass();
}
