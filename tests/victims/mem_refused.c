/* Memory that a save refuses by name: the argument says which. The program goes on. */
#include "victim.h"
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "nothing";
    if (!strncmp(what, "secret", 6)) {
        int fd = syscall(SYS_memfd_secret, 0);
        check(fd >= 0, "memfd_secret: %s", strerror(errno));
        must(ftruncate(fd, PAGE));
        if (!strcmp(what, "secret mapping")) {
            char *at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
            check(at != MAP_FAILED, "mmap: %s", strerror(errno));
            strcpy(at, "secret");
            must(close(fd));
        }
    } else if (!strcmp(what, "write-only memfd")) {
        int fd = must(memfd_create("write-only", 0));
        char name[64];
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        check_equal(write(fd, "secret", 6), 6);
        must(open(name, O_WRONLY));
        must(close(fd));
        must(fchmod(4, 0200));
    } else if (!strcmp(what, "huge memfd")) {
        must(memfd_create("huge", MFD_HUGETLB));
    } else if (!strcmp(what, "shared file out of reach")) {
        must(mkdir("closed", 0700));
        int fd = must(open("closed/file", O_CREAT | O_RDWR, 0600));
        must(ftruncate(fd, PAGE));
        check(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED, "mmap: %s", strerror(errno));
        must(close(fd));
        must(chmod("closed", 0));
    } else {
        check(!strcmp(what, "nothing"), "what is %s?", what);
    }
    checkpoint_here();
    pass();
}
