/* epoll: data words, level and edge triggers, one-shot entries, nesting, numbers that were closed or given away, dup. */
#include "victim.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

static void add(int epoll, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event event = { .events = events, .data.u64 = data };
    must(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
}

/* The only event there is, or 0. */
static uint64_t only(int epoll, uint32_t *events)
{
    struct epoll_event found[8];
    int count = must(epoll_wait(epoll, found, 8, 0));
    check(count <= 1, "%d events", count);
    *events = count ? found[0].events : 0;
    return count ? found[0].data.u64 : 0;
}

static void bump(int fd)
{
    uint64_t one = 1;
    check_equal(must(write(fd, &one, 8)), 8);
}

int main(void)
{
    uint32_t events;
    int level = must(epoll_create1(EPOLL_CLOEXEC)), ready = must(eventfd(1, 0)), idle = must(eventfd(0, 0));
    add(level, ready, EPOLLIN, 0xdeadbeefcafef00d);
    add(level, idle, EPOLLIN, 2);

    /* An edge that was fetched does not come again; one that was not, does. */
    int fetched = must(epoll_create1(0)), edge = must(eventfd(1, 0));
    add(fetched, edge, EPOLLIN | EPOLLET, 3);
    check_equal(only(fetched, &events), 3);
    int pending = must(epoll_create1(0)), edge2 = must(eventfd(1, 0));
    add(pending, edge2, EPOLLIN | EPOLLET, 4);

    int armed = must(epoll_create1(0)), shot = must(eventfd(1, 0));
    add(armed, shot, EPOLLIN | EPOLLONESHOT, 5);
    int spent = must(epoll_create1(0)), shot2 = must(eventfd(1, 0));
    add(spent, shot2, EPOLLIN | EPOLLONESHOT, 6);
    check_equal(only(spent, &events), 6);

    int outer = must(epoll_create1(0)), inner = must(epoll_create1(0)), core = must(eventfd(0, 0));
    add(outer, inner, EPOLLIN, 7);
    add(inner, core, EPOLLIN, 8);

    /* The number is closed, or another file's, but a duplicate keeps the entry. */
    int stale = must(epoll_create1(0)), kept = must(eventfd(0, 0));
    int closed = must(fcntl(kept, F_DUPFD, 200)), given = must(fcntl(kept, F_DUPFD, 210));
    add(stale, closed, EPOLLIN, 9);
    must(close(closed));
    int given_epoll = must(epoll_create1(0));
    add(given_epoll, given, EPOLLIN, 10);
    must(dup2(idle, given));

    /* Two entries of one number. */
    int twice = must(epoll_create1(0)), first = must(eventfd(1, 0)), second = must(eventfd(0, 0));
    int number = must(fcntl(first, F_DUPFD, 220));
    add(twice, number, EPOLLIN, 11);
    must(dup2(second, number));
    add(twice, number, EPOLLIN, 12);

    int pair[2];
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    int sockets = must(epoll_create1(0));
    add(sockets, pair[0], EPOLLIN | EPOLLEXCLUSIVE, 13);
    int twin = must(dup(sockets));

    checkpoint_here();
    check_equal(must(fcntl(level, F_GETFD)), FD_CLOEXEC);
    check_equal(only(level, &events), 0xdeadbeefcafef00d);
    check_equal(only(level, &events), 0xdeadbeefcafef00d);
    struct epoll_event event = { .events = EPOLLIN, .data.u64 = 22 };
    must(epoll_ctl(level, EPOLL_CTL_MOD, idle, &event));
    must(epoll_ctl(level, EPOLL_CTL_DEL, ready, NULL));
    check_equal(only(level, &events), 0);
    bump(idle);
    check_equal(only(level, &events), 22);

    check_equal(only(fetched, &events), 0);
    bump(edge);
    check_equal(only(fetched, &events), 3);
    check_equal(only(pending, &events), 4);
    check_equal(only(pending, &events), 0);

    check_equal(only(armed, &events), 5);
    check_equal(only(armed, &events), 0);
    check_equal(only(spent, &events), 0);
    event = (struct epoll_event){ .events = EPOLLIN | EPOLLONESHOT, .data.u64 = 66 };
    must(epoll_ctl(spent, EPOLL_CTL_MOD, shot2, &event));
    check_equal(only(spent, &events), 66);

    check_equal(only(outer, &events), 0);
    bump(core);
    check_equal(only(outer, &events), 7);
    check_equal(only(inner, &events), 8);

    check(fcntl(200, F_GETFD) == -1, "a number that was closed is open");
    check_equal(only(stale, &events), 0);
    bump(kept);
    check_equal(only(stale, &events), 9);
    check_equal(only(given_epoll, &events), 10);

    check_equal(only(twice, &events), 11);
    uint64_t value;
    check_equal(must(read(first, &value, 8)), 8);
    check_equal(only(twice, &events), 0);
    bump(number);
    check_equal(only(twice, &events), 12);
    must(epoll_ctl(twice, EPOLL_CTL_DEL, number, NULL));
    check_equal(only(twice, &events), 0);

    check_equal(only(twin, &events), 0);
    must(write(pair[1], "x", 1));
    check_equal(only(twin, &events), 13);
    check_equal(events, EPOLLIN);
    pass();
}
