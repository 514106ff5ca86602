/* Lists of robust mutexes that lead nowhere: in a circle, into memory that cannot be read or written, to words of others. The kernel would put up with them, and so does a restart. */
#include "victim.h"

struct head {
    void *next;
    long offset;
    void *pending;
};

int main(int argc, char **argv)
{
    const char *kind = argc > 1 ? argv[1] : "";
    struct head *head = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(head != MAP_FAILED, "mmap: %s", strerror(errno));
    uint64_t *entry = (uint64_t *)((char *)head + PAGE);
    uint32_t *word = (uint32_t *)(entry + 8);
    *head = (struct head){ entry, 64, NULL };
    entry[0] = (uint64_t)head;
    *word = getpid();
    if (!strcmp(kind, "circle"))
        entry[0] = (uint64_t)entry;
    else if (!strcmp(kind, "nowhere"))
        entry[0] = 0x10;
    else if (!strcmp(kind, "odd"))
        entry[0] = (uint64_t)entry + 12;
    else if (!strcmp(kind, "pending"))
        *head = (struct head){ head, 64, (char *)entry + 1 };
    else if (!strcmp(kind, "read-only"))
        must(mprotect(entry, PAGE, PROT_READ));
    else if (!strcmp(kind, "hidden"))
        must(mprotect(entry, PAGE, PROT_NONE));
    else if (!strcmp(kind, "others"))
        *word = getpid() + 1;
    must(syscall(SYS_set_robust_list, head, sizeof *head));
    pid_t before = getpid();
    checkpoint_here();
    pid_t now = getpid();
    if (!strcmp(kind, "hidden"))
        must(mprotect(entry, PAGE, PROT_READ));
    int is_told = strcmp(kind, "read-only") && strcmp(kind, "hidden") && strcmp(kind, "others");
    check_equal(*word, is_told ? now : strcmp(kind, "others") ? before : before + 1);
    pass();
}
