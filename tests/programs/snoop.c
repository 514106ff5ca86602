/* A container's attack on whoever saves one of its programs: looks all the time for a process that has something of the world outside.
 *
 * snoop MODE SECRET MARKER COMMAND: SECRET is a directory with a file `token` that is hidden in here, MARKER a string of the outside's environment, COMMAND
 * the file of ckpt. MODE hostile never answers a request. MODE plain does not either, and is in no container, only another user: what is not a secret is no
 * leak then. Lines go to the file `leaks`. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *secret, *marker, *command;
static int leaks, plain;

static void tell(const char *what, const char *detail)
{
    char line[512];
    int len = snprintf(line, sizeof line, "%s %s\n", what, detail);
    if (write(leaks, line, len) != len)
        abort();
}

static int opens(const char *format, int pid)
{
    char path[512];
    snprintf(path, sizeof path, format, pid, secret);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static char buffer[1 << 20];

static void look_at_memory(int pid)
{
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "re");
    if (!maps)
        return;
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    int mem = open(path, O_RDONLY | O_CLOEXEC);
    while (mem >= 0 && fgets(line, sizeof line, maps)) {
        unsigned long start, end;
        if (!strstr(line, "[stack]") && !strstr(line, "[heap]"))
            continue;
        if (sscanf(line, "%lx-%lx", &start, &end) != 2)
            continue;
        ssize_t len = pread(mem, buffer, sizeof buffer < end - start ? sizeof buffer : end - start, start);
        if (len > 0 && memmem(buffer, len, marker, strlen(marker)))
            tell("LEAK", "mem");
    }
    if (mem >= 0)
        close(mem);
    fclose(maps);
}

static void look_at(int pid)
{
    char path[64], link[512], own[512];
    struct stat exe, file;
    /* The helper and the writer of a save are of this container. */
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    if (!stat(path, &exe) && !stat("/proc/self/exe", &file) && exe.st_dev == file.st_dev && exe.st_ino == file.st_ino)
        return;
    if (opens("/proc/%d/root%s/token", pid))
        tell("LEAK", "root");
    /* Others run this test too, in directories of their own. */
    snprintf(path, sizeof path, "/proc/%d/cwd", pid);
    ssize_t cwd = readlink(path, link, sizeof link - 1);
    link[cwd > 0 ? cwd : 0] = 0;
    if (opens("/proc/%d/cwd/token", pid) && (!plain || !strcmp(link, secret)))
        tell("LEAK", "cwd");
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *fds = opendir(path);
    if (!fds)
        return;
    closedir(fds);
    for (int fd = 0; fd < 64; fd++) {
        static const char *harmless[] = {"pipe:", "socket:", "/memfd:ckpt-request", "anon_inode:[pidfd]", "/dev/null", "pidfd:"};
        snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, fd);
        ssize_t len = readlink(path, link, sizeof link - 1);
        if (len < 0)
            continue;
        link[len] = 0;
        /* What is open in here is nobody's secret: a helper or a writer at its end has no exe any more, but its descriptors still. */
        int known = 0;
        for (int mine = 0; mine <= 2; mine++) {
            snprintf(path, sizeof path, "/proc/self/fd/%d", mine);
            known |= readlink(path, own, sizeof own) == len && !memcmp(own, link, len);
        }
        for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
            known |= !strncmp(link, harmless[i], strlen(harmless[i]));
        if (plain ? !strncmp(link, secret, strlen(secret)) : !known)
            tell("LEAK fd", link);
    }
    snprintf(path, sizeof path, "/proc/%d/environ", pid);
    int environ = open(path, O_RDONLY | O_CLOEXEC);
    if (environ >= 0) {
        ssize_t len = read(environ, buffer, sizeof buffer);
        if (len > 0 && memmem(buffer, len, marker, strlen(marker)))
            tell("LEAK", "environ");
        close(environ);
    }
    look_at_memory(pid);
    if (plain)
        return;
    static const char *spaces[] = {"mnt", "pid", "user", "net", "ipc", "uts", "cgroup"};
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) {
        snprintf(path, sizeof path, "/proc/%d/ns/%s", pid, spaces[i]);
        ssize_t theirs = readlink(path, link, sizeof link - 1);
        snprintf(path, sizeof path, "/proc/self/ns/%s", spaces[i]);
        ssize_t ours = readlink(path, own, sizeof own - 1);
        if (theirs > 0 && (theirs != ours || memcmp(link, own, ours)))
            tell("LEAK ns", spaces[i]);
    }
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    if (!stat(path, &exe) && !stat(command, &file) && exe.st_dev == file.st_dev && exe.st_ino == file.st_ino)
        tell("LEAK", "exe");
    tell("looked", "");
}

static void look(const char *known)
{
    for (;;) {
        DIR *all = opendir("/proc");
        struct dirent *entry;
        while ((entry = readdir(all))) {
            int pid = atoi(entry->d_name);
            if (pid > 0 && !known[pid & 0xffff])
                look_at(pid);
        }
        closedir(all);
    }
}

static void ignore(int number)
{
    (void)number;
}

int main(int argc, char **argv)
{
    static char known[1 << 16];
    if (argc != 5)
        return 64;
    secret = argv[2], marker = argv[3], command = argv[4];
    plain = !strcmp(argv[1], "plain");
    leaks = open("leaks", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (leaks < 0 || opens("/proc/%d/root%s/token", getpid()))
        return 65;
    int parent = getpid();
    int child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        /* The child does not answer either: it only looks. */
        signal(SIGUSR2, SIG_IGN);
        for (int pid = 0; pid < parent; pid++) {
            char path[32];
            snprintf(path, sizeof path, "/proc/%d", pid);
            known[pid & 0xffff] = access(path, F_OK) == 0;
        }
        known[parent & 0xffff] = known[getpid() & 0xffff] = 1;
        tell("ready", "");
        look(known);
    }
    close(leaks);
    if (strcmp(argv[1], "honest"))
        signal(SIGUSR2, ignore);
    for (;;)
        pause();
}
