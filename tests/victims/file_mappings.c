/* Mappings of files: shared ones write to the file, private ones keep what was written to them and show the file elsewhere;
 * a mapping may be longer than its file. */
#include "fault.h"
#include "pattern.h"

int main(void)
{
    int fd = must(open("mapped file", O_CREAT | O_RDWR, 0600));
    char page[PAGE];
    for (int i = 0; i < 8; i++) {
        memset(page, 'a' + i, PAGE);
        check_equal(write(fd, page, PAGE), PAGE);
    }
    char *shared = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *private = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    char *later = mmap(NULL, 4 * PAGE, PROT_READ, MAP_SHARED, fd, 4 * PAGE);
    int small = must(open("short file", O_CREAT | O_RDWR, 0600));
    check_equal(write(small, "short", 5), 5);
    char *beyond = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, small, 0);
    char *beyond_shared = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, small, 0);
    int read_only_fd = must(open("mapped file", O_RDONLY));
    char *read_only = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, read_only_fd, 0);
    check(shared != MAP_FAILED && private != MAP_FAILED && later != MAP_FAILED && beyond != MAP_FAILED && beyond_shared != MAP_FAILED &&
              read_only != MAP_FAILED,
          "mmap");
    must(close(fd));
    shared[PAGE] = '1';
    private[2 * PAGE] = '2';
    memset(private + 3 * PAGE, 0, PAGE); /* a page of zeros of its own over one that is not zero */
    must(mprotect(private + 4 * PAGE, PAGE, PROT_READ | PROT_EXEC));
    check(mprotect(read_only, PAGE, PROT_READ | PROT_WRITE) == -1 && errno == EACCES, "a read-only descriptor's mapping is writable");

    checkpoint_here();
    check(shared[PAGE] == '1' && shared[PAGE + 1] == 'b' && shared[7 * PAGE] == 'h', "shared");
    check(private[0] == 'a' && private[PAGE] == '1' && private[2 * PAGE] == '2' && private[2 * PAGE + 1] == 'c', "private");
    verify_zero(private + 3 * PAGE);
    check(private[7 * PAGE] == 'h', "private, last page");
    fd = must(open("mapped file", O_RDWR));
    shared[6 * PAGE] = 'S';
    char byte;
    check_equal(pread(fd, &byte, 1, 6 * PAGE), 1);
    check_equal(byte, 'S');
    check_equal(later[2 * PAGE], 'S');
    private[5 * PAGE] = 'P';
    check_equal(pread(fd, &byte, 1, 5 * PAGE), 1);
    check_equal(byte, 'f');
    check(!memcmp(beyond, "short", 6), "short file");
    check_equal(fault_at(beyond_shared + 2 * PAGE), SIGBUS);
    check_equal(fault_at(beyond + PAGE), SIGBUS);
    check(strstr(maps_line_at(private + 4 * PAGE), "r-xp"), "%s", maps_line_at(private + 4 * PAGE));
    check(strstr(maps_line_at(shared), "/mapped file"), "%s", maps_line_at(shared));
    check(mprotect(read_only, PAGE, PROT_READ | PROT_WRITE) == -1 && errno == EACCES, "a read-only mapping has become writable");
    pass();
}
