/* Pipes: bytes that nobody has read yet, the size, flags and packet mode, both ends or one. */
#include "victim.h"
#include <signal.h>
#include <sys/ioctl.h>

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    int both[2], packets[2], large[2], no_writer[2], no_reader[2], shared;
    char buffer[200000], text[64];
    must(pipe(both));
    check_equal(write(both[1], "unread", 6), 6);
    shared = must(dup(both[1]));
    must(pipe2(packets, O_DIRECT | O_NONBLOCK | O_CLOEXEC));
    check_equal(write(packets[1], "one", 3), 3);
    check_equal(write(packets[1], "three", 5), 5);
    must(pipe(large));
    int size = must(fcntl(large[1], F_SETPIPE_SZ, 256 << 10));
    for (unsigned i = 0; i < sizeof buffer; i++)
        buffer[i] = i * 7;
    check_equal(write(large[1], buffer, sizeof buffer), sizeof buffer);
    must(pipe(no_writer));
    check_equal(write(no_writer[1], "last words", 10), 10);
    must(close(no_writer[1]));
    must(pipe(no_reader));
    must(close(no_reader[0]));

    checkpoint_here();
    int count;
    must(ioctl(both[0], FIONREAD, &count));
    check_equal(count, 6);
    check_equal(read(both[0], text, sizeof text), 6);
    check(!memcmp(text, "unread", 6), "contents");
    check_equal(write(shared, "more", 4), 4);
    check_equal(read(both[0], text, sizeof text), 4);
    must(close(shared));
    must(close(both[1]));
    check_equal(read(both[0], text, sizeof text), 0); /* nobody else has the writing end */
    check_equal(fcntl(packets[0], F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    check_equal(fcntl(packets[1], F_GETFL) & (O_NONBLOCK | O_DIRECT), O_NONBLOCK | O_DIRECT);
    check_equal(fcntl(packets[1], F_GETFD), FD_CLOEXEC);
    check_equal(read(packets[0], text, sizeof text), 3);
    check_equal(read(packets[0], text, sizeof text), 5);
    check_equal(read(packets[0], text, sizeof text), -1);
    check_equal(errno, EAGAIN);
    check_equal(fcntl(large[0], F_GETPIPE_SZ), size);
    static char again[200000];
    size_t got = 0;
    while (got < sizeof again)
        got += must(read(large[0], again + got, sizeof again - got));
    check(!memcmp(again, buffer, sizeof buffer), "contents of the large pipe");
    check_equal(read(no_writer[0], text, sizeof text), 10);
    check_equal(read(no_writer[0], text, sizeof text), 0);
    check_equal(write(no_reader[1], "x", 1), -1);
    check_equal(errno, EPIPE);
    pass();
}
