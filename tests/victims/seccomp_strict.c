/* With the argument "strict": the mode of seccomp in which a process may read, write, return from a handler and end, and is killed for anything else. Nobody can save it, so
 * nobody must try. */
#include "victim.h"
#include <linux/seccomp.h>
#include <sys/prctl.h>

int main(int argc, char **argv)
{
    (void)argv;
    if (argc < 2) {
        checkpoint_here();
        pass();
    }
    must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
    say_ready();
    for (;;)
        ;
}
