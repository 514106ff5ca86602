/* Memory that children get empty, and that nobody may write any more: it comes back empty, and as it may be used. */
#include "pattern.h"
#include <sys/wait.h>

int main(void)
{
    map_anywhere(PAGE, PROT_NONE);
    char *area = map_anywhere(4 * PAGE, PROT_READ | PROT_WRITE);
    map_anywhere(PAGE, PROT_NONE);
    fill(area);
    fill(area + 2 * PAGE);
    must(madvise(area, 4 * PAGE, MADV_WIPEONFORK));
    must(mprotect(area, 4 * PAGE, PROT_READ));
    int sealed = syscall(SYS_mseal, area, 4 * PAGE, 0) == 0;

    checkpoint_here();
    void (*look)() = was_restarted() ? verify_zero : verify;
    look(area);
    look(area + 2 * PAGE);
    verify_zero(area + PAGE);
    if (sealed)
        check(mprotect(area, PAGE, PROT_READ | PROT_WRITE) == -1 && errno == EPERM, "the seal is gone");
    pid_t child = must(fork());
    if (child == 0) {
        verify_zero(area);
        _exit(0);
    }
    int status;
    must(waitpid(child, &status, 0));
    check_equal(status, 0);
    pass();
}
