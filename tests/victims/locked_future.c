/* mlockall(MCL_FUTURE): new memory is locked, also after a restart. */
#include "pattern.h"

int main(void)
{
    if (mlockall(MCL_FUTURE | MCL_ONFAULT) != 0) {
        check(errno == EPERM || errno == ENOMEM, "mlockall: %s", strerror(errno));
        checkpoint_here(); /* this user may not */
        pass();
    }
    char *before = map_anywhere(4 * PAGE, PROT_READ | PROT_WRITE);
    fill(before);
    checkpoint_here();
    unsigned long long locked = status_field("VmLck", 10);
    verify(before);
    map_anywhere(64 * PAGE, PROT_READ | PROT_WRITE);
    check_equal(status_field("VmLck", 10), locked + 256);
    pass();
}
