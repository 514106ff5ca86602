/* Saved once; then something comes in the way of the second save: the file size limit, a directory that is gone or not writable, or (when
 * the harness runs this on a small file system) memory that has grown. The program does not notice. */
#include "pattern.h"
#include <signal.h>
#include <sys/resource.h>

int main(int argc, char **argv)
{
    const char *obstacle = argc > 1 ? argv[1] : "nothing";
    if (!strncmp(obstacle, "directory-", 10)) {
        must(mkdir("here", 0755));
        must(chdir("here"));
    }
    checkpoint_here();
    char *area = NULL;
    const uint64_t size = 48 << 20;
    if (!strcmp(obstacle, "file-size")) {
        struct rlimit small = { 20000, 20000 };
        must(setrlimit(RLIMIT_FSIZE, &small));
    } else if (!strcmp(obstacle, "directory-gone")) {
        unlink("myckpt");
        must(rmdir("../here"));
    } else if (!strcmp(obstacle, "directory-read-only")) {
        must(chmod(".", 0555));
    } else if (!strcmp(obstacle, "memory")) {
        area = map_anywhere(size, PROT_READ | PROT_WRITE);
        for (uint64_t at = 0; at < size; at += PAGE)
            fill(area + at);
    }
    checkpoint_here();
    for (uint64_t at = 0; area && at < size; at += PAGE)
        verify(area + at);
    sigset_t pending;
    must(sigpending(&pending));
    check(!sigismember(&pending, SIGXFSZ), "SIGXFSZ is pending");
    must(chmod(".", 0755));
    for (int fd = 3; fd < 100; fd++)
        check(fcntl(fd, F_GETFD) == -1, "descriptor %d is open", fd);
    pass();
}
