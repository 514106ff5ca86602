/* A process that nobody may look into (PR_SET_DUMPABLE): of /proc/self, an ordinary user then cannot open everything himself. Sparse memory must
 * not be filled up for want of the page map. */
#include "pattern.h"
#include <sys/prctl.h>

int main(void)
{
    must(prctl(PR_SET_DUMPABLE, 0));
    char *sparse = map_anywhere(8UL << 30, PROT_READ | PROT_WRITE);
    fill(sparse + (5UL << 30));
    char *wiped = map_anywhere(4 * PAGE, PROT_READ | PROT_WRITE);
    must(madvise(wiped, 4 * PAGE, MADV_WIPEONFORK));
    fill(wiped);
    char *shared = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check(shared != MAP_FAILED, "mmap");
    fill(shared + PAGE);

    checkpoint_here();
    check_equal(prctl(PR_GET_DUMPABLE), 0);
    verify(sparse + (5UL << 30));
    verify_zero(sparse);
    (was_restarted() ? verify_zero : verify)(wiped);
    verify(shared + PAGE);
    check(status_field("RssAnon", 10) < 16384, "%llu KiB of private memory", status_field("RssAnon", 10));
    pass();
}
