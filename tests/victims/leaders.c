/* A process that leads a session ("session") or a process group ("group") does so after a restart, unless a terminal is in the way. */
#include "victim.h"

int main(int argc, char **argv)
{
    int session = argc > 1 && !strcmp(argv[1], "session");
    if (session)
        must(setsid());
    else
        must(setpgid(0, 0));
    checkpoint_here();
    check_equal(getpgrp(), getpid());
    if (session)
        check_equal(getsid(0), getpid());
    pass();
}
