/* Reads lines from standard input and answers on standard output and standard error, "quit" ends it. "wait" stops reading until the harness says go,
 * so that what comes behind it is unread. Descriptors 10 and 11 are duplicates of 0 and 1. */
#include "victim.h"

static void say(int fd, const char *text)
{
    if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        _exit(7);
}

int main(void)
{
    must(dup2(0, 10));
    must(dup3(1, 11, O_CLOEXEC));
    say(1, "ready\n");
    char line[256];
    size_t len = 0;
    for (;;) {
        ssize_t got = read(len % 2 ? 10 : 0, line + len, 1);
        if (got <= 0) {
            say(1, "PASS\n");
            return 0;
        }
        if (line[len++] != '\n')
            continue;
        line[len] = 0;
        len = 0;
        if (!strcmp(line, "quit\n"))
            return 0;
        /* Standard output comes last: who has read it may save the program at once. */
        say(2, "err ");
        say(2, line);
        say(11, "out ");
        say(1, line);
        if (!strcmp(line, "wait\n"))
            wait_for_go(1);
    }
}
