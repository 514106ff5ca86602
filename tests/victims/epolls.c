/* epoll: the data words, edge-triggered and one-shot interests, descriptors that were disarmed, nested instances. */
#include "victim.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>

static int add(int instance, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event event = { .events = events, .data.u64 = data };
    return must(epoll_ctl(instance, EPOLL_CTL_ADD, fd, &event));
}

int main(void)
{
    int instance = must(epoll_create1(EPOLL_CLOEXEC)), outer = must(epoll_create1(0));
    int level = must(eventfd(0, EFD_NONBLOCK)), edge = must(eventfd(0, EFD_NONBLOCK)), once = must(eventfd(1, EFD_NONBLOCK));
    add(instance, level, EPOLLIN, 0x1111111122222222);
    add(instance, edge, EPOLLIN | EPOLLET, 0x3333333344444444);
    add(instance, once, EPOLLIN | EPOLLONESHOT, 0x5555555566666666);
    add(outer, instance, EPOLLIN, 0x7777777788888888);
    struct epoll_event got[8];
    check_equal(epoll_wait(instance, got, 8, 0), 1); /* the one-shot, which is disarmed now */
    check_equal(got[0].data.u64, 0x5555555566666666);
    uint64_t one = 1;

    checkpoint_here();
    check_equal(fcntl(instance, F_GETFD), FD_CLOEXEC);
    check_equal(epoll_wait(instance, got, 8, 0), 0);
    check_equal(epoll_wait(outer, got, 8, 0), 0);
    check_equal(write(level, &one, 8), 8);
    check_equal(epoll_wait(outer, got, 8, 0), 1);
    check_equal(got[0].data.u64, 0x7777777788888888);
    check_equal(epoll_wait(instance, got, 8, 0), 1);
    check(got[0].data.u64 == 0x1111111122222222 && got[0].events == EPOLLIN, "level");
    check_equal(epoll_wait(instance, got, 8, 0), 1); /* still */
    uint64_t value;
    check_equal(read(level, &value, 8), 8);
    check_equal(write(edge, &one, 8), 8);
    check_equal(epoll_wait(instance, got, 8, 0), 1);
    check_equal(got[0].data.u64, 0x3333333344444444);
    check_equal(epoll_wait(instance, got, 8, 0), 0); /* an edge tells once */
    struct epoll_event again = { .events = EPOLLIN | EPOLLONESHOT, .data.u64 = 9 };
    must(epoll_ctl(instance, EPOLL_CTL_MOD, once, &again));
    check_equal(epoll_wait(instance, got, 8, 0), 1);
    check_equal(got[0].data.u64, 9);
    must(epoll_ctl(instance, EPOLL_CTL_DEL, level, NULL));
    check(epoll_ctl(instance, EPOLL_CTL_DEL, level, NULL) == -1 && errno == ENOENT, "deleted twice");
    pass();
}
