/* memfd: contents, length, name, seals, offset; and one that is mapped twice, shared. */
#include "pattern.h"

int main(void)
{
    int plain = must(memfd_create("plain one", MFD_CLOEXEC));
    must(ftruncate(plain, 1 << 20));
    check_equal(pwrite(plain, "in the middle", 13, 500000), 13);
    must(lseek(plain, 77, SEEK_SET));
    int sealed = must(memfd_create("sealed", MFD_ALLOW_SEALING));
    check_equal(write(sealed, "sealed text", 11), 11);
    must(fcntl(sealed, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_WRITE | F_SEAL_SEAL));
    int mapped = must(memfd_create("mapped", 0));
    must(ftruncate(mapped, 8 * PAGE));
    char *first = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, mapped, 0);
    char *second = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, mapped, 2 * PAGE);
    char *private = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, mapped, 0);
    check(first != MAP_FAILED && second != MAP_FAILED && private != MAP_FAILED, "mmap");
    fill(first + PAGE);
    fill(first + 3 * PAGE);
    fill(private + 5 * PAGE);
    int reopened = must(dup(mapped));

    checkpoint_here();
    struct stat status;
    must(fstat(plain, &status));
    check_equal(status.st_size, 1 << 20);
    check_equal(lseek(plain, 0, SEEK_CUR), 77);
    check_equal(fcntl(plain, F_GETFD), FD_CLOEXEC);
    check_equal(fcntl(plain, F_GET_SEALS), F_SEAL_SEAL);
    char text[64] = "";
    check_equal(pread(plain, text, 13, 500000), 13);
    check(!strcmp(text, "in the middle"), "%s", text);
    check_equal(pread(plain, text, 1, 499999), 1);
    check_equal(text[0], 0);
    check(readlink("/proc/self/fd/3", text, sizeof text) > 0, "readlink");
    check_equal(fcntl(sealed, F_GET_SEALS), F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_WRITE | F_SEAL_SEAL);
    check_equal(pread(sealed, text, 64, 0), 11);
    check_equal(write(sealed, "x", 1), -1);
    check_equal(errno, EPERM);
    verify(first + PAGE);
    verify(first + 3 * PAGE);
    verify(private + 5 * PAGE);
    verify_zero(first + 5 * PAGE);
    check(!memcmp(second + PAGE, first + 3 * PAGE, PAGE), "two mappings differ");
    second[PAGE + 9] ^= 1;
    check(second[PAGE + 9] == first[3 * PAGE + 9], "no longer the same memory");
    check_equal(pread(reopened, text, 1, 3 * PAGE + 9), 1);
    check(text[0] == first[3 * PAGE + 9], "no longer the descriptor's memory");
    first[2 * PAGE] = 'p';
    check_equal(private[2 * PAGE], 'p'); /* untouched private page: shows the file */
    private[2 * PAGE] = 'q';
    check_equal(first[2 * PAGE], 'p');
    pass();
}
