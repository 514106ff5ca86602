/* Memory that a child does not get, or gets empty, or that may be neither read nor unsealed: a checkpointer that works in a child must not
 * lose it. */
#include "fault.h"
#include "pattern.h"
#include <sys/wait.h>

static char *area(int prot)
{
    map_anywhere(PAGE, PROT_NONE); /* keeps the areas apart */
    char *at = map_anywhere(16 * PAGE, PROT_READ | PROT_WRITE);
    for (int i = 0; i < 16; i += 3)
        fill(at + i * PAGE);
    must(mprotect(at, 16 * PAGE, prot));
    return at;
}

static void verify_area(char *at)
{
    for (int i = 0; i < 16; i++)
        if (i % 3 == 0)
            verify(at + i * PAGE);
        else
            verify_zero(at + i * PAGE);
}

static void verify_nothing(char *at)
{
    for (int i = 0; i < 16; i++)
        verify_zero(at + i * PAGE);
}

int main(void)
{
    char *absent = area(PROT_READ | PROT_WRITE), *absent_hidden = area(PROT_NONE), *absent_guarded = area(PROT_READ);
    char *wiped = area(PROT_READ | PROT_WRITE), *wiped_hidden = area(PROT_NONE), *wiped_guarded = area(PROT_READ);
    must(madvise(absent, 16 * PAGE, MADV_DONTFORK));
    must(madvise(absent_hidden, 16 * PAGE, MADV_DONTFORK));
    must(madvise(wiped, 16 * PAGE, MADV_WIPEONFORK));
    must(madvise(wiped_hidden, 16 * PAGE, MADV_WIPEONFORK));
    int guards = madvise(absent_guarded + PAGE, PAGE, MADV_GUARD_INSTALL) == 0 && madvise(wiped_guarded + PAGE, PAGE, MADV_GUARD_INSTALL) == 0;
    must(madvise(absent_guarded, 16 * PAGE, MADV_DONTFORK));
    must(madvise(wiped_guarded, 16 * PAGE, MADV_WIPEONFORK));
    /* Mappings of files, too. */
    int fd = must(open("file", O_CREAT | O_RDWR, 0600));
    char page[PAGE];
    for (int i = 0; i < 8; i++) {
        memset(page, 'a' + i, PAGE);
        check_equal(write(fd, page, PAGE), PAGE);
    }
    char *private = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    char *shared = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *anonymous = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check(private != MAP_FAILED && shared != MAP_FAILED && anonymous != MAP_FAILED, "mmap");
    must(close(fd));
    private[2 * PAGE] = 'P';
    fill(anonymous + 3 * PAGE);
    must(madvise(private, 8 * PAGE, MADV_DONTFORK));
    must(madvise(shared, 8 * PAGE, MADV_DONTFORK));
    must(madvise(anonymous, 8 * PAGE, MADV_DONTFORK));
    /* Neither readable nor to be made so, except that nobody looks. */
    char *sealed = area(PROT_NONE);
    int is_sealed = syscall(SYS_mseal, sealed, 16 * PAGE, 0) == 0;

    checkpoint_here();
    int restarted = was_restarted();
    void (*verify_wiped)(char *) = restarted ? verify_nothing : verify_area;
    verify_area(absent);
    verify_wiped(wiped);
    check(fault_at(absent_hidden) && fault_at(wiped_hidden), "a hidden page can be read");
    must(mprotect(absent_hidden, 16 * PAGE, PROT_READ));
    must(mprotect(wiped_hidden, 16 * PAGE, PROT_READ));
    verify_area(absent_hidden);
    verify_wiped(wiped_hidden);
    if (guards) {
        check(fault_at(absent_guarded + PAGE) && fault_at(wiped_guarded + PAGE), "a guard page can be read");
        check(!fault_at(absent_guarded) && !fault_at(absent_guarded + 2 * PAGE), "a guard page too many");
    }
    verify(absent_guarded + 3 * PAGE);
    (restarted ? verify_zero : verify)(wiped_guarded + 15 * PAGE);
    check(private[0] == 'a' && private[2 * PAGE] == 'P' && private[2 * PAGE + 1] == 'c' && private[7 * PAGE] == 'h', "private file mapping");
    check(shared[0] == 'a' && shared[7 * PAGE] == 'h', "shared file mapping");
    verify(anonymous + 3 * PAGE);
    if (is_sealed) {
        check(mprotect(sealed, PAGE, PROT_READ) == -1 && errno == EPERM, "the seal is gone");
        /* The kernel reads for us what the protection hides. */
        int mem = must(open("/proc/self/mem", O_RDONLY));
        char copy[PAGE];
        for (int i = 0; i < 16; i += 3) {
            check_equal(pread(mem, copy, PAGE, (off_t)(sealed + i * PAGE)), PAGE);
            check(*(uint64_t *)copy == pattern((uint64_t)sealed + i * PAGE), "sealed page %d", i);
        }
    }
    pid_t child = must(fork());
    if (child == 0) {
        verify_zero(wiped);
        check_equal(msync(absent, PAGE, MS_ASYNC), -1);
        check_equal(msync(private, PAGE, MS_ASYNC), -1);
        check_equal(msync(anonymous, PAGE, MS_ASYNC), -1);
        _exit(0);
    }
    int status;
    must(waitpid(child, &status, 0));
    check_equal(status, 0);
    pass();
}
