/* A private mapping shows the file as it was at the save, whatever has become of it since; a shared one shows what is there. The harness changes
 * the files while the process is not there. */
#include "pattern.h"

static char *map(const char *name, int flags, char first)
{
    int fd = must(open(name, O_CREAT | O_TRUNC | O_RDWR, 0600));
    char page[PAGE];
    for (int i = 0; i < 8; i++) {
        memset(page, first + i, PAGE);
        check_equal(write(fd, page, PAGE), PAGE);
    }
    char *at = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);
    check(at != MAP_FAILED, "mmap of %s: %s", name, strerror(errno));
    must(close(fd));
    return at;
}

int main(void)
{
    char *private = map("private", MAP_PRIVATE, 'a');
    char *shared = map("shared", MAP_SHARED, 'A');
    private[3 * PAGE] = 'P';
    memset(private + 5 * PAGE, 0, PAGE);
    shared[PAGE] = 'S';

    checkpoint_here();
    for (int i = 0; i < 8; i++) {
        int first = i == 3 ? 'P' : i == 5 ? 0 : 'a' + i, last = i == 5 ? 0 : 'a' + i;
        check(private[i * PAGE] == first && private[i * PAGE + PAGE - 1] == last, "page %d: %d, %d", i, private[i * PAGE],
              private[i * PAGE + PAGE - 1]);
    }
    check_equal(shared[0], 'A');
    check_equal(shared[PAGE], 'S');
    shared[2] = 'W';
    char byte;
    int fd = must(open("shared", O_RDONLY));
    check_equal(pread(fd, &byte, 1, 2), 1);
    check_equal(byte, 'W');
    pass();
}
