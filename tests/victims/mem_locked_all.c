/* mlockall(MCL_CURRENT): everything is locked again, also what cannot be read and what is behind the end of its file. */
#include "pattern.h"
#include <sys/resource.h>

int main(void)
{
    char *hidden = map_anywhere(16 * PAGE, PROT_NONE);
    char *data = map_anywhere(4 * PAGE, PROT_READ | PROT_WRITE);
    fill(data);
    int fd = must(open("short", O_CREAT | O_RDWR, 0600));
    check_equal(write(fd, "short", 5), 5);
    char *beyond = mmap(NULL, 4 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    check(beyond != MAP_FAILED, "mmap");
    if (mlockall(MCL_CURRENT) != 0) {
        check(errno == EPERM || errno == ENOMEM, "mlockall: %s", strerror(errno));
        checkpoint_here(); /* this user may not */
        pass();
    }
    unsigned long long locked = status_field("VmLck", 10);
    check(locked > 1000, "VmLck %llu", locked);

    checkpoint_here();
    verify(data);
    check(!strcmp(beyond, "short"), "file");
    check_equal(status_field("VmLck", 10), locked);
    map_anywhere(64 * PAGE, PROT_READ | PROT_WRITE); /* not MCL_FUTURE */
    check_equal(status_field("VmLck", 10), locked);
    check(strstr(maps_line_at(hidden), "---p"), "%s", maps_line_at(hidden));
    pass();
}
