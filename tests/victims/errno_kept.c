/* errno is the interrupted code's: whatever the save calls, it does not change. */
#include "victim.h"

int main(void)
{
    volatile uint64_t *control = map_control(NULL);
    say_ready();
    int *place = &errno;
    errno = 12345;
    while (!*control)
        ;
    check(&errno == place, "errno moved");
    check_equal(errno, 12345);
    pass();
}
