/* A memfd, and a deleted file that is open for reading, can be executed: the kernel refuses what somebody has open for writing (ETXTBSY). A lease is
 * refused for the same reason. */
#include "victim.h"
#include <sys/wait.h>

static int executes(int fd)
{
    pid_t child = must(fork());
    if (child == 0) {
        char *argv[] = { "true", NULL }, *envp[] = { NULL };
        syscall(SYS_execveat, fd, "", argv, envp, AT_EMPTY_PATH);
        _exit(errno);
    }
    int status;
    must(waitpid(child, &status, 0));
    return WEXITSTATUS(status);
}

static void copy(int to)
{
    char buffer[65536];
    int from = must(open("/bin/true", O_RDONLY));
    for (ssize_t n; (n = must(read(from, buffer, sizeof buffer))) > 0;)
        check_equal(must(write(to, buffer, n)), n);
    must(close(from));
}

int main(void)
{
    int memory = must(memfd_create("program", 0));
    copy(memory);
    int flags = must(fcntl(memory, F_GETFL));
    int other = must(memfd_create("written", MFD_CLOEXEC));
    copy(other);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", other);
    int writer = must(open(path, O_RDWR));
    int written = must(open("program", O_RDWR | O_CREAT, 0755));
    copy(written);
    must(close(written));
    int deleted = must(open("program", O_RDONLY));
    must(unlink("program"));
    off_t at = must(lseek(memory, 0, SEEK_CUR));
    checkpoint_here();
    check_equal(executes(memory), 0);
    check_equal(executes(other), ETXTBSY);
    check_equal(executes(deleted), 0);
    check_equal(must(fcntl(memory, F_GETFL)), flags);
    check_equal(must(lseek(memory, 0, SEEK_CUR)), at);
    check_equal(must(fcntl(other, F_GETFD)), FD_CLOEXEC);
    must(write(writer, "x", 1));
    pass();
}
