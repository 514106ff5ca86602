/* Memory that mseal has made immutable (Linux 6.10), and memory that the kernel may drop (MAP_DROPPABLE, 6.11), which comes back empty. */
#include "pattern.h"

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 8
#endif

int main(void)
{
    map_anywhere(PAGE, PROT_NONE);
    char *area = map_anywhere(4 * PAGE, PROT_READ | PROT_WRITE);
    map_anywhere(PAGE, PROT_NONE);
    fill(area);
    must(mprotect(area, 4 * PAGE, PROT_READ));
    int sealed = syscall(SYS_mseal, area, 4 * PAGE, 0) == 0;
    check(sealed || errno == ENOSYS, "mseal: %s", strerror(errno));
    char *droppable = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_DROPPABLE, -1, 0);
    if (droppable != MAP_FAILED)
        fill(droppable);
    uint64_t before = *(volatile uint64_t *)area;

    checkpoint_here();
    check_equal(*(volatile uint64_t *)area, before);
    verify(area);
    if (sealed) {
        check(mprotect(area, PAGE, PROT_READ | PROT_WRITE) == -1 && errno == EPERM, "the seal is gone");
        check(munmap(area, PAGE) == -1 && errno == EPERM, "the seal is gone");
    }
    if (droppable != MAP_FAILED) {
        uint64_t *word = (uint64_t *)droppable, first = *word;
        check(first == 0 || first == pattern((uint64_t)droppable), "droppable memory holds %#lx", first);
        fill(droppable); /* still memory */
        verify(droppable);
        if (access("downtime", F_OK) == 0)
            check_equal(first, 0);
    }
    pass();
}
