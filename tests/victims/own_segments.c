/* A program with a segment in its local descriptor table, which a restart would not give back. */
#include "victim.h"
#include <asm/ldt.h>

int main(void)
{
    struct user_desc segment = { .limit = 0xfffff, .seg_32bit = 1, .limit_in_pages = 1, .useable = 1 };
    must(syscall(SYS_modify_ldt, 1, &segment, sizeof segment));
    checkpoint_here();
    /* Taken back: the table is there, and empty. */
    struct user_desc none = { .read_exec_only = 1, .seg_not_present = 1 };
    must(syscall(SYS_modify_ldt, 1, &none, sizeof none));
    checkpoint_here();
    pass();
}
