/* build: gcc -O2 -pthread
 * State of many kinds, looked at again and again: each time that the harness says go, everything must be as it was, and nothing may be there that
 * was not, until the number of the go is huge. With an argument, two more threads. Makes no system call of its own while it waits. */
#include "victim.h"
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>

#define HEAP 200000
#define PAGES 24

static volatile uint64_t *control;
static volatile sig_atomic_t handled;
static char stack_area[65536];
static _Thread_local long mine = 7;
static volatile long turns[3];

static void handler(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)context;
    handled += info->si_value.sival_int;
}

static void turn(int sig)
{
    (void)sig;
    turns[mine]++;
}

static void *thread(void *number)
{
    long n = mine = (long)number;
    turns[n]++;
    for (;;) {
        pause();
        if (mine != n)
            fail("thread %ld has become %ld", n, mine);
    }
}

static int descriptors(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    check(dir, "/proc/self/fd: %s", strerror(errno));
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

/* Addresses and protections of all mappings but those that a libc's own calls may change. */
/* Whether a byte of the pages is zero now: those with MADV_WIPEONFORK come back wiped. */
static int is_wiped(unsigned byte)
{
    return restarts() > 0 && byte / PAGE >= 8 && byte / PAGE < 10;
}

static unsigned long long map_sum(void)
{
    char line[4600], prot[8], name[4200];
    unsigned long long sum = 0;
    unsigned long start, end;
    FILE *f = fopen("/proc/self/maps", "r");
    check(f, "/proc/self/maps: %s", strerror(errno));
    while (fgets(line, sizeof line, f)) {
        name[0] = 0;
        check(sscanf(line, "%lx-%lx %7s %*s %*s %*s %4199[^\n]", &start, &end, prot, name) >= 3, "%s", line);
        if (!strcmp(name, "[heap]") || !strcmp(name, "[stack]") || !strcmp(name, "[vsyscall]"))
            continue;
        sum = sum * 31 + start * 7 + end;
        sum = sum * 31 + prot[0] + prot[1] * 3 + prot[2] * 5 + prot[3] * 9;
    }
    fclose(f);
    return sum;
}

int main(int argc, char **argv)
{
    (void)argv;
    control = map_control(NULL);
    umask(027);
    must(prctl(PR_SET_NAME, "fault victim"));
    must(prctl(PR_SET_TIMERSLACK, 60001));
    struct rlimit limit;
    must(getrlimit(RLIMIT_CORE, &limit));
    limit.rlim_cur = 4096;
    must(setrlimit(RLIMIT_CORE, &limit));

    /* Memory. */
    unsigned char *heap = malloc(HEAP);
    unsigned char *pages = must(mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    unsigned char *shared = must(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    for (int i = 0; i < HEAP; i++)
        heap[i] = i * 11 + i / 251;
    for (unsigned i = 0; i < PAGES * PAGE; i++)
        pages[i] = i * 13 + i / 4099;
    must(madvise(pages + 4 * PAGE, 2 * PAGE, MADV_DONTFORK));
    must(madvise(pages + 8 * PAGE, 2 * PAGE, MADV_WIPEONFORK));
    must(mprotect(pages + 12 * PAGE, PAGE, PROT_NONE));
    must(mlock(pages + 16 * PAGE, PAGE));
    memcpy(shared, "shared memory", 14);

    /* Descriptors. */
    int ends[2], pair[2];
    must(pipe(ends));
    check_equal(write(ends[1], "unread", 6), 6);
    must(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    check_equal(write(pair[0], "datagram", 8), 8);
    int file = must(open("kept", O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0600));
    check_equal(write(file, "0123456789", 10), 10);
    must(lseek(file, 4, SEEK_SET));
    int twin = must(dup(file));
    int counter = must(eventfd(5, EFD_NONBLOCK));
    int gone = must(open("gone", O_CREAT | O_RDWR, 0600));
    check_equal(write(gone, "without a name", 14), 14);
    must(unlink("gone"));

    /* Signals and timers. */
    stack_t stack = { .ss_sp = stack_area, .ss_size = sizeof stack_area };
    must(sigaltstack(&stack, NULL));
    struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    must(sigaction(SIGRTMIN + 4, &action, NULL));
    sigset_t set, now;
    void (*actions[32])(int);
    for (int sig = 1; sig <= 31; sig++) {
        struct sigaction is;
        must(sigaction(sig, NULL, &is));
        actions[sig] = is.sa_handler;
    }
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 4);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    must(sigqueue(getpid(), SIGRTMIN + 4, (union sigval){ .sival_int = 3 }));
    struct itimerval virtual = { { 0, 0 }, { 100000, 0 } };
    must(setitimer(ITIMER_PROF, &virtual, NULL));
    timer_t timer;
    struct sigevent event = { .sigev_notify = SIGEV_NONE };
    must(timer_create(CLOCK_MONOTONIC, &event, &timer));
    struct itimerspec long_time = { { 0, 0 }, { 100000, 0 } };
    must(timer_settime(timer, 0, &long_time, NULL));

    signal(SIGUSR1, turn);
    actions[SIGUSR1] = turn;
    pthread_t threads[2];
    for (long n = 0; argc > 1 && n < 2; n++)
        check_equal(pthread_create(&threads[n], NULL, thread, (void *)(n + 1)), 0);
    for (int n = 1; argc > 1 && n <= 2; n++)
        while (!turns[n])
            ;
    free(malloc(100000));
    descriptors();
    map_sum();

    int count = descriptors();
    unsigned restarted = restarts();
    unsigned long long maps = map_sum();
    for (uint64_t round = 1;; round++) {
        say_ready();
        while (*control < round)
            ;
        /* The map of a process that was restarted may have been put together otherwise. */
        if (restarts() != restarted) {
            restarted = restarts();
            maps = map_sum();
        }
        check_equal(descriptors(), count);
        check(map_sum() == maps, "the memory map has changed");
        for (int i = 0; i < HEAP; i++)
            if (heap[i] != (unsigned char)(i * 11 + i / 251))
                fail("byte %d of the heap is %#x", i, heap[i]);
        for (unsigned i = 0; i < PAGES * PAGE; i++)
            if (i / PAGE != 12 && pages[i] != (is_wiped(i) ? 0 : (unsigned char)(i * 13 + i / 4099)))
                fail("byte %u of the pages is %#x", i, pages[i]);
        check(!strcmp((char *)shared, "shared memory"), "%s", shared);
        check_equal(mine, 7);

        mode_t mask = umask(027);
        check_equal(mask, 027);
        char name[17] = "";
        must(prctl(PR_GET_NAME, name));
        check(!strcmp(name, "fault victim"), "%s", name);
        check_equal(prctl(PR_GET_TIMERSLACK), 60001);
        must(getrlimit(RLIMIT_CORE, &limit));
        check_equal(limit.rlim_cur, 4096);
        must(getrlimit(RLIMIT_NOFILE, &limit));
        check(limit.rlim_cur > 100, "RLIMIT_NOFILE is %ld", (long)limit.rlim_cur);

        int queued;
        char text[32] = "";
        must(ioctl(ends[0], FIONREAD, &queued));
        check_equal(queued, 6);
        check_equal(read(ends[0], text, sizeof text), 6);
        check(!memcmp(text, "unread", 6), "%s", text);
        check_equal(write(ends[1], "unread", 6), 6);
        check_equal(recv(pair[1], text, sizeof text, MSG_PEEK | MSG_DONTWAIT), 8);
        check(!memcmp(text, "datagram", 8), "%s", text);
        check_equal(recv(pair[0], text, sizeof text, MSG_PEEK | MSG_DONTWAIT), -1);
        check_equal(lseek(twin, 0, SEEK_CUR), 4);
        must(lseek(file, 5, SEEK_SET));
        check_equal(lseek(twin, 0, SEEK_CUR), 5);
        must(lseek(file, 4, SEEK_SET));
        check_equal(fcntl(file, F_GETFD), FD_CLOEXEC);
        check_equal(fcntl(twin, F_GETFD), 0);
        uint64_t value = 0;
        check_equal(read(counter, &value, 8), 8);
        check_equal(value, 5);
        check_equal(write(counter, &value, 8), 8);
        check_equal(pread(gone, text, 14, 0), 14);
        check(!memcmp(text, "without a name", 14), "%s", text);

        stack_t old;
        must(sigaltstack(NULL, &old));
        check(old.ss_sp == stack_area && old.ss_size == sizeof stack_area, "alternate stack");
        pthread_sigmask(SIG_SETMASK, NULL, &now);
        for (int sig = 1; sig <= 64; sig++)
            check_equal(sigismember(&now, sig) == 1, sig == SIGRTMIN + 4);
        for (int sig = 1; sig <= 31; sig++)
            if (sig != SIGUSR2 && sig != SIGKILL && sig != SIGSTOP) {
                struct sigaction is;
                must(sigaction(sig, NULL, &is));
                check(is.sa_handler == actions[sig], "signal %d has another action", sig);
            }
        sigpending(&now);
        check_equal(sigismember(&now, SIGRTMIN + 4), 1);
        handled = 0;
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
        check_equal(handled, 3);
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        must(sigqueue(getpid(), SIGRTMIN + 4, (union sigval){ .sival_int = 3 }));
        struct itimerval left;
        must(getitimer(ITIMER_PROF, &left));
        check(left.it_value.tv_sec > 90000 && left.it_value.tv_sec <= 100000, "%ld s are left", (long)left.it_value.tv_sec);
        struct itimerspec rest;
        must(timer_gettime(timer, &rest));
        check(rest.it_value.tv_sec > 90000 && rest.it_value.tv_sec <= 100000, "%ld s are left", (long)rest.it_value.tv_sec);
        for (int n = 1; argc > 1 && n <= 2; n++)
            for (long before = turns[n], sent = pthread_kill(threads[n - 1], SIGUSR1); turns[n] == before || sent;)
                ;
        if (*control > 1UL << 40)
            break;
    }
    pass();
}
