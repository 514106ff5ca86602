/* A file that it writes to (20) and one that it reads from (21), for tests that change them while it is away. It writes "before" and
 * reads three bytes, then writes "after" and copies what there is still to read to "got". */
#include "victim.h"

int main(void)
{
    int log = must(open("log", O_CREAT | O_WRONLY | O_TRUNC, 0640));
    must(dup2(log, 20));
    must(close(log));
    int in = open("in", O_RDONLY);
    if (in == -1) {
        in = must(open("in", O_CREAT | O_RDWR, 0644));
        must(write(in, "abcdef", 6));
        must(close(in));
        in = must(open("in", O_RDONLY));
    }
    must(dup2(in, 21));
    must(close(in));
    check_equal(must(write(20, "before\n", 7)), 7);
    char text[4096];
    check_equal(must(read(21, text, 3)), 3);

    checkpoint_here();
    check_equal(must(write(20, "after\n", 6)), 6);
    int got = must(open("got", O_CREAT | O_WRONLY | O_TRUNC, 0644));
    for (ssize_t n; (n = must(read(21, text, sizeof text))) > 0;)
        check_equal(must(write(got, text, n)), n);
    pass();
}
