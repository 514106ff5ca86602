/* Sparse memory stays sparse: a save touches none of the pages that the program never did, and a restart makes none of them. */
#include "pattern.h"

#define SIZE (32UL << 30)

int main(void)
{
    char *shared = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    check(shared != MAP_FAILED, "mmap: %s", strerror(errno));
    char *private = map_anywhere(SIZE, PROT_READ | PROT_WRITE);
    int fd = must(memfd_create("sparse", 0));
    must(ftruncate(fd, SIZE));
    unsigned long places[] = { 0, 7777 * PAGE, SIZE / 2, SIZE - PAGE };
    for (int i = 0; i < 4; i++) {
        fill(shared + places[i]);
        fill(private + places[i]);
        check_equal(pwrite(fd, &places[i], sizeof places[i], places[i]), sizeof places[i]);
    }
    struct stat before, after;
    must(fstat(fd, &before));

    checkpoint_here();
    for (int i = 0; i < 4; i++) {
        verify(shared + places[i]);
        verify(private + places[i]);
        unsigned long place;
        check_equal(pread(fd, &place, sizeof place, places[i]), sizeof place);
        check_equal(place, places[i]);
    }
    must(fstat(fd, &after));
    check_equal(after.st_size, before.st_size);
    check(after.st_blocks <= before.st_blocks, "the memfd has %ld blocks, and had %ld", (long)after.st_blocks, (long)before.st_blocks);
    check(status_field("RssShmem", 10) < 1024, "%llu KiB of shared memory", status_field("RssShmem", 10));
    check(status_field("RssAnon", 10) < 16384, "%llu KiB of private memory", status_field("RssAnon", 10));
    /* Pages that exist though nobody maps them would show as resident here. */
    unsigned char present[1 << 12];
    for (unsigned long at = 1 << 20; at < SIZE / 2; at += SIZE / 64) {
        must(mincore(shared + at, sizeof present * PAGE, present));
        for (unsigned i = 0; i < sizeof present; i++)
            check(!(present[i] & 1) || (at <= 7777 * PAGE && at + i * PAGE == 7777 * PAGE), "page %#lx exists", at + i * PAGE);
    }
    pass();
}
