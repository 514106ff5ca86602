/* Makes no system call between "ready" and the end of its wait: whatever is traced there is not its own. */
#include "victim.h"

int main(void)
{
    volatile uint64_t *control = map_control(NULL);
    say_ready();
    while (!*control)
        ;
    pass();
}
