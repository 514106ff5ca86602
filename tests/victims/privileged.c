/* Tells whether it gained privileges at exec, whether libckpt.so is loaded, and what that has done: "secure 0, loaded 1, handles 1". */
#include "victim.h"
#include <signal.h>
#include <sys/auxv.h>

int ckpt_checkpoint(void) __attribute__((weak));

int main(void)
{
    struct sigaction action;
    int handles = 0;
    for (int sig = 1; sig <= SIGRTMAX; sig++)
        if (sigaction(sig, NULL, &action) == 0)
            handles += action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN;
    int loaded = ckpt_checkpoint != NULL;
    printf("secure %lu, loaded %d, handles %d\n", getauxval(AT_SECURE), loaded, handles);
    /* It may be called all the same, and says no. */
    if (loaded && !handles)
        check_equal(ckpt_checkpoint(), -1);
    pass();
}
