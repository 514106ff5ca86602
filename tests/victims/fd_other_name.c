/* Files that have lost the name by which they were opened, but have another one in the same folder, as those of sem_open(3): others reach the same file by that.
 * build: gcc -O2 -pthread */
#include "victim.h"
#include <semaphore.h>

static char *map(int fd)
{
    char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    check(page != MAP_FAILED, "mmap: %s", strerror(errno));
    return page;
}

static int renamed(const char *name)
{
    char first[64];
    snprintf(first, sizeof first, "%s.first", name);
    int fd = must(open(first, O_RDWR | O_CREAT | O_EXCL, 0600));
    must(ftruncate(fd, PAGE));
    must(link(first, name));
    must(unlink(first));
    return fd;
}

int main(void)
{
    char semaphore_name[64], file[96];
    snprintf(semaphore_name, sizeof semaphore_name, "/victim-other-%d", getpid());
    sem_unlink(semaphore_name);
    sem_t *semaphore = sem_open(semaphore_name, O_CREAT | O_EXCL, 0600, 3);
    check(semaphore != SEM_FAILED, "sem_open: %s", strerror(errno));
    snprintf(file, sizeof file, "/dev/shm/sem.%s", semaphore_name + 1);

    int open_only = renamed("open"), both = renamed("both"), mapped_only = renamed("mapped");
    char *of_both = map(both), *only = map(mapped_only);
    must(close(mapped_only));
    must(write(open_only, "open", 4));

    checkpoint_here();
    struct stat own, by_name;
    must(fstat(open_only, &own));
    must(stat("open", &by_name));
    check_equal(own.st_ino, by_name.st_ino);
    check_equal(own.st_nlink, 1);
    int there = must(open("open", O_RDWR));
    char text[8] = "";
    check_equal(must(read(there, text, sizeof text)), PAGE < sizeof text ? PAGE : sizeof text);
    check(!memcmp(text, "open", 4), "%s", text);

    char *others = map(must(open("both", O_RDWR)));
    others[7] = 'b';
    check_equal(of_both[7], 'b');
    must(pwrite(both, "c", 1, 8));
    check_equal(others[8], 'c');
    others = map(must(open("mapped", O_RDWR)));
    others[9] = 'm';
    check_equal(only[9], 'm');
    check(access("mapped.first", F_OK) == -1, "a removed name is back");

    /* The same semaphore, as another process sees it. */
    sem_t *others_semaphore = (sem_t *)map(must(open(file, O_RDWR)));
    must(sem_post(others_semaphore));
    int value;
    must(sem_getvalue(semaphore, &value));
    check_equal(value, 4);
    must(sem_unlink(semaphore_name));
    pass();
}
