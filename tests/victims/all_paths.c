/* One of every kind of path that an image can have, each in the directory "a": files that it writes to (20), reads from (21), reads and writes (22), appends to (23); one
 * that is mapped, a FIFO (24), a socket (25), a file with locks (26), a deleted one (27), a directory (28), one held by O_PATH (29). It is restarted where somebody else has been there meanwhile,
 * and then writes through all of them. */
#include "victim.h"
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>

static void at(int number, int fd)
{
    must(fd);
    if (fd == number)
        return;
    must(dup2(fd, number));
    must(close(fd));
}

int main(int argc, char **argv)
{
    check(mkdir("a", 0755) == 0 || errno == EEXIST, "mkdir");
    must(chdir("a"));
    at(20, open("written", O_CREAT | O_WRONLY | O_TRUNC, 0644));
    must(write(20, "0123456789\n", 11));
    at(21, open("read", O_CREAT | O_RDONLY, 0644));
    if (argc < 2 || strcmp(argv[1], "plain")) {
        at(22, open("both", O_CREAT | O_RDWR, 0644));
        int fd = must(open("mapped", O_CREAT | O_RDWR, 0644));
        must(ftruncate(fd, PAGE));
        char *mapped = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        check(mapped != MAP_FAILED, "mmap");
        must(close(fd));
        at(23, open("appended", O_CREAT | O_WRONLY | O_APPEND, 0644));
        if (access("fifo", F_OK))
            must(mkfifo("fifo", 0644));
        at(24, open("fifo", O_RDWR));
        struct sockaddr_un name = { AF_UNIX, "" };
        check(getcwd(name.sun_path, 80), "getcwd");
        strcat(name.sun_path, "/socket");
        unlink(name.sun_path);
        at(25, socket(AF_UNIX, SOCK_STREAM, 0));
        mode_t old = umask(0);
        must(bind(25, (struct sockaddr *)&name, sizeof name));
        umask(old);
        must(chmod(name.sun_path, 0666));
        must(listen(25, 1));
        at(26, open("locked", O_CREAT | O_WRONLY, 0644));
        must(flock(26, LOCK_EX));
        at(27, open("gone", O_CREAT | O_RDWR, 0644));
        must(write(27, "gone", 4));
        must(unlink("gone"));
        at(28, open(".", O_RDONLY | O_DIRECTORY));
        at(29, open("written", O_PATH));
        checkpoint_here();
        mapped[0] = 'x';
        for (int number = 22; number <= 27; number++)
            if (number != 25 && number != 24)
                must(write(number, "root::0:0:::/bin/sh\n", 20));
    } else {
        checkpoint_here();
    }
    must(write(20, "root::0:0:::/bin/sh\n", 20));
    pass();
}
