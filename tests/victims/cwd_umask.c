/* Working directory and file mode creation mask. */
#include "victim.h"

int main(void)
{
    must(mkdir("a directory", 0755));
    must(chdir("a directory"));
    umask(0137);
    char before[4096], after[4096];
    check(getcwd(before, sizeof before), "getcwd");
    checkpoint_here();
    check(getcwd(after, sizeof after), "getcwd");
    check(!strcmp(before, after), "the working directory is %s, not %s", after, before);
    int fd = must(open("a new file", O_CREAT | O_EXCL | O_WRONLY, 0777));
    struct stat status;
    must(fstat(fd, &status));
    check_equal(status.st_mode & 0777, 0640);
    check_equal(umask(0), 0137);
    pass();
}
