/* Files without a name: deleted while open, tmpfile, O_TMPFILE. Their contents come back, and no name. And one that was renamed. */
#include "pattern.h"

int main(void)
{
    char text[64] = "";
    int deleted = must(open("deleted", O_CREAT | O_RDWR, 0640));
    check_equal(write(deleted, "of a deleted file", 17), 17);
    must(lseek(deleted, 3, SEEK_SET));
    must(ftruncate(deleted, 100000));
    must(unlink("deleted"));
    int twin = must(dup(deleted));
    FILE *temporary = tmpfile();
    check(temporary, "tmpfile: %s", strerror(errno));
    fputs("in stdio's buffer and behind", temporary);
    fflush(temporary);
    fputs(" it", temporary);
    int unnamed = must(open(".", O_TMPFILE | O_RDWR, 0600));
    check_equal(write(unnamed, "unnamed", 7), 7);
    int mapped = must(open("mapped", O_CREAT | O_RDWR, 0600));
    must(ftruncate(mapped, 2 * PAGE));
    char *memory = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, mapped, 0);
    check(memory != MAP_FAILED, "mmap");
    fill(memory + PAGE);
    must(unlink("mapped"));
    int renamed = must(open("old name", O_CREAT | O_RDWR, 0600));
    check_equal(write(renamed, "renamed", 7), 7);
    must(rename("old name", "new name"));

    checkpoint_here();
    check(access("deleted", F_OK) == -1 && access("mapped", F_OK) == -1 && access("old name", F_OK) == -1, "a name has come back");
    check_equal(lseek(twin, 0, SEEK_CUR), 3);
    check_equal(read(deleted, text, 14), 14);
    check(!memcmp(text, "a deleted file", 14), "contents: %s", text);
    check_equal(lseek(twin, 0, SEEK_CUR), 17);
    struct stat status;
    must(fstat(deleted, &status));
    check_equal(status.st_size, 100000);
    check_equal(status.st_mode & 0777, 0640);
    check_equal(status.st_nlink, 0);
    rewind(temporary);
    check(fgets(text, sizeof text, temporary) && !strcmp(text, "in stdio's buffer and behind it"), "tmpfile: %s", text);
    check_equal(pread(unnamed, text, 64, 0), 7);
    verify(memory + PAGE);
    memory[PAGE] = 'm';
    check_equal(pread(mapped, text, 1, PAGE), 1);
    check_equal(text[0], 'm');
    struct stat named;
    must(stat("new name", &named));
    must(fstat(renamed, &status));
    check_equal(status.st_ino, named.st_ino);
    check_equal(lseek(renamed, 0, SEEK_CUR), 7);
    pass();
}
