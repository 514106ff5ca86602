/* A large private mapping of a file with holes: what the program wrote in a hole, beside data and in data, what it only read, and what nobody has touched. */
#include "victim.h"

#define LEN (4UL << 30)

static char *map;

static void holds(unsigned long at, const char *text)
{
    check(!strcmp(map + at, text), "%lx: %.20s instead of %s", at, map + at, text);
}

int main(void)
{
    int fd = must(open("holes", O_RDWR | O_CREAT, 0600));
    must(ftruncate(fd, LEN - 100));
    const unsigned long data[] = { 0, 5 * PAGE + 17, LEN / 3, LEN - 2 * PAGE };
    for (int i = 0; i < 4; i++)
        must(pwrite(fd, "data", 5, data[i]));
    map = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
    check(map != MAP_FAILED, "mmap: %s", strerror(errno));
    must(close(fd));
    strcpy(map + LEN / 2, "in a hole");
    strcpy(map + 6 * PAGE, "beside data");
    strcpy(map + LEN / 3 + 64, "in data");
    check_equal(map[LEN / 4], 0);
    checkpoint_here();
    for (int i = 0; i < 4; i++)
        holds(data[i], "data");
    holds(LEN / 2, "in a hole");
    holds(6 * PAGE, "beside data");
    holds(LEN / 3 + 64, "in data");
    check_equal(map[LEN / 4], 0);
    check_equal(map[LEN / 2 - 1], 0);
    check_equal(map[LEN - 200], 0);
    must(unlink("holes"));
    pass();
}
