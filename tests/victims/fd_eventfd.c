/* eventfd: counter, semaphore, flags, sharing by dup. */
#include "victim.h"
#include <sys/eventfd.h>

static uint64_t take(int fd)
{
    uint64_t value = 0;
    check_equal(must(read(fd, &value, 8)), 8);
    return value;
}

int main(void)
{
    int plain = must(eventfd(7, 0));
    int semaphore = must(eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC));
    int empty = must(eventfd(0, EFD_NONBLOCK));
    int huge = must(eventfd(0, EFD_NONBLOCK));
    uint64_t most = UINT64_MAX - 1;
    check_equal(must(write(huge, &most, 8)), 8);
    int twin = must(fcntl(plain, F_DUPFD_CLOEXEC, 50));
    int other = must(eventfd(7, 0));

    checkpoint_here();
    check_equal(must(fcntl(plain, F_GETFD)), 0);
    check_equal(must(fcntl(twin, F_GETFD)), FD_CLOEXEC);
    uint64_t one = 1;
    check_equal(must(write(twin, &one, 8)), 8);
    check_equal(take(plain), 8);
    check_equal(take(other), 7);
    check_equal(must(fcntl(semaphore, F_GETFL)) & O_NONBLOCK, O_NONBLOCK);
    check_equal(must(fcntl(semaphore, F_GETFD)), FD_CLOEXEC);
    for (int i = 0; i < 3; i++)
        check_equal(take(semaphore), 1);
    check(read(semaphore, &one, 8) == -1 && errno == EAGAIN, "the semaphore has more");
    check(read(empty, &one, 8) == -1 && errno == EAGAIN, "the empty one is not");
    one = 1;
    check(write(huge, &one, 8) == -1 && errno == EAGAIN, "the full one takes more");
    check_equal(take(huge), most);
    pass();
}
