/* Files that live in memory only: what is not mapped any more but can be reached again, what nobody has a descriptor of, what may
 * never be written, and what is longer than its file. */
#include "fault.h"
#include "pattern.h"
#include <sys/wait.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 16
#endif

static void *map(int fd, int prot, size_t pages, off_t page)
{
    void *at = mmap(NULL, pages * PAGE, prot, MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0), fd, page * PAGE);
    check(at != MAP_FAILED, "mmap: %s", strerror(errno));
    return at;
}

int main(void)
{
    /* The second half comes back when the mapping grows. */
    char *half = map(-1, PROT_READ | PROT_WRITE, 64, 0);
    strcpy(half, "first");
    strcpy(half + 40 * PAGE, "hidden");
    must(munmap(half + 32 * PAGE, 32 * PAGE));
    /* A hole, and the first page gone. */
    char *holed = map(-1, PROT_READ | PROT_WRITE, 64, 0);
    for (int i = 0; i < 64; i += 7)
        fill(holed + i * PAGE);
    must(munmap(holed, PAGE));
    must(munmap(holed + 20 * PAGE, 10 * PAGE));
    must(mprotect(holed + 42 * PAGE, PAGE, PROT_NONE));
    /* No descriptor is left. */
    int fd = must(memfd_create("mapped only", 0));
    must(ftruncate(fd, 10 * PAGE + 100));
    char *mapped = map(fd, PROT_READ | PROT_WRITE, 16, 0);
    strcpy(mapped + 10 * PAGE, "end");
    must(close(fd));
    fd = must(open("short and deleted", O_CREAT | O_RDWR, 0600));
    check_equal(write(fd, "short", 5), 5);
    char *deleted = map(fd, PROT_READ | PROT_WRITE, 4, 0);
    must(unlink("short and deleted"));
    must(close(fd));
    /* Read-only mappings, for good: of a descriptor that cannot write, and behind a seal. */
    fd = must(memfd_create("kept out", MFD_ALLOW_SEALING));
    must(ftruncate(fd, 4 * PAGE));
    char *writable = map(fd, PROT_READ | PROT_WRITE, 4, 0);
    strcpy(writable, "kept out");
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    int reader = must(open(name, O_RDONLY));
    char *read_only = map(reader, PROT_READ, 4, 0);
    must(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
    char *sealed = map(fd, PROT_READ, 4, 0);
    must(lseek(reader, 3, SEEK_SET));

    checkpoint_here();
    check(!strcmp(half, "first"), "half");
    char *grown = mremap(half, 32 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
    check(grown != MAP_FAILED, "mremap: %s", strerror(errno));
    check(!strcmp(grown + 40 * PAGE, "hidden"), "what was not mapped: %s", grown + 40 * PAGE);
    check(fault_at(holed + 42 * PAGE), "a page without permission can be read");
    must(mprotect(holed + 42 * PAGE, PAGE, PROT_READ));
    for (int i = 7; i < 64; i += 7)
        if (i < 20 || i >= 30)
            verify(holed + i * PAGE);
    verify_zero(holed + PAGE);
    check(!strcmp(mapped + 10 * PAGE, "end"), "mapped only: %s", mapped + 10 * PAGE);
    verify_zero(mapped);
    check(fault_at(mapped + 11 * PAGE) == SIGBUS && !fault_at(mapped + 10 * PAGE), "length of what is only mapped");
    check(strstr(maps_line_at(mapped), "rw-s") && strstr(maps_line_at(mapped), "/memfd:mapped only"), "%s", maps_line_at(mapped));
    check(!strcmp(deleted, "short"), "deleted: %s", deleted);
    check(fault_at(deleted + PAGE) == SIGBUS, "a page behind the end of a deleted file can be read");
    strcpy(deleted, "still shared");
    pid_t child = must(fork());
    if (child == 0) {
        strcpy(deleted, "by the child");
        strcpy(mapped, "by the child");
        _exit(0);
    }
    must(waitpid(child, NULL, 0));
    check(!strcmp(deleted, "by the child") && !strcmp(mapped, "by the child"), "not shared any more");
    check(!strcmp(read_only, "kept out") && !strcmp(sealed, "kept out"), "read-only views");
    strcpy(writable, "changed");
    check(!strcmp(read_only, "changed") && !strcmp(sealed, "changed"), "three views of one file");
    check(mprotect(read_only, PAGE, PROT_READ | PROT_WRITE) == -1 && errno == EACCES, "a view became writable");
    check(mprotect(sealed, PAGE, PROT_READ | PROT_WRITE) == -1 && errno == EACCES, "a sealed view became writable");
    check_equal(fcntl(fd, F_GET_SEALS), F_SEAL_FUTURE_WRITE);
    check(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EPERM, "the seal is gone");
    check_equal(fcntl(reader, F_GETFL) & O_ACCMODE, O_RDONLY);
    check_equal(lseek(reader, 0, SEEK_CUR), 3);
    pass();
}
