/* build: gcc -O2
 * The address at which the kernel clears a word when the thread ends may be any: the kernel does not look before. Here it is in memory that is gone, or,
 * with the argument "kept", in memory that cannot be written to. */
#include "victim.h"
#include <sys/syscall.h>

int main(int argc, char **argv)
{
    int is_kept = argc > 1 && !strcmp(argv[1], "kept");
    unsigned char *page = must(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    memset(page, 7, PAGE);
    must(syscall(SYS_set_tid_address, page + PAGE - 4));
    must(is_kept ? mprotect(page, PAGE, PROT_READ) : munmap(page, PAGE));
    checkpoint_here();
    for (size_t i = 0; is_kept && i < PAGE; i++)
        check_equal(page[i], 7);
    pass();
}
