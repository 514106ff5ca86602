/* Mapped files whose names are gone, lie, or lead elsewhere: replaced by another file as an upgrade does it, called "(deleted)" in earnest,
 * out of reach, and cut short since. */
#include "pattern.h"

static char *map(const char *name, int flags, int prot, int mode)
{
    int fd = must(open(name, mode));
    char *at = mmap(NULL, 4 * PAGE, prot, flags, fd, 0);
    check(at != MAP_FAILED, "mmap of %s: %s", name, strerror(errno));
    must(close(fd));
    return at;
}

static void make(const char *name, char first)
{
    int fd = must(open(name, O_CREAT | O_TRUNC | O_RDWR, 0600));
    char page[PAGE];
    for (int i = 0; i < 4; i++) {
        memset(page, first + i, PAGE);
        check_equal(write(fd, page, PAGE), PAGE);
    }
    must(close(fd));
}

int main(void)
{
    make("library", 'a');
    char *library = map("library", MAP_PRIVATE, PROT_READ | PROT_WRITE, O_RDONLY);
    library[PAGE] = 'L';
    make("library.new", 'q');
    must(rename("library.new", "library"));
    make("x (deleted)", 'k');
    char *earnest = map("x (deleted)", MAP_SHARED, PROT_READ | PROT_WRITE, O_RDWR);
    char *earnest_private = map("x (deleted)", MAP_PRIVATE, PROT_READ, O_RDONLY);
    must(mkdir("closed", 0700));
    make("closed/cache", 'c');
    char *cache = map("closed/cache", MAP_SHARED, PROT_READ, O_RDONLY);
    must(chmod("closed", 0));
    make("cut", 'm');
    char *cut = map("cut", MAP_PRIVATE, PROT_READ | PROT_WRITE, O_RDWR);
    cut[2 * PAGE] = 'C';
    must(truncate("cut", PAGE + 10));

    checkpoint_here();
    check(library[0] == 'a' && library[PAGE] == 'L' && library[PAGE + 1] == 'b' && library[3 * PAGE] == 'd', "the file of before");
    int fd = must(open("library", O_RDONLY));
    char byte;
    check_equal(read(fd, &byte, 1), 1);
    check_equal(byte, 'q');
    check(earnest[0] == 'k' && earnest_private[3 * PAGE] == 'n', "contents of x (deleted)");
    earnest[1] = 'X';
    fd = must(open("x (deleted)", O_RDONLY));
    check_equal(pread(fd, &byte, 1, 1), 1);
    check_equal(byte, 'X');
    must(chmod("closed", 0700));
    check(cache[0] == 'c' && cache[3 * PAGE] == 'f', "a file out of reach");
    check(cut[0] == 'm' && cut[PAGE] == 'n' && cut[PAGE + 9] == 'n' && cut[PAGE + 10] == 0, "a file that was cut");
    must(truncate("cut", 4 * PAGE));
    check(cut[2 * PAGE] != 'm', "pages come back");
    pass();
}
