/* Works without end until told to stop, and checks its own results all the time: it is saved and restarted at random instructions.
 *
 * soak MODE: alloc, signals, recursion, pipe, vector, maps, forks, threads */
#include "rounds.h"
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

static uint64_t state = 88172645463325252ULL;
static uint64_t next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* A busy allocator: every block carries its own size and a pattern. */
static void alloc_round(void)
{
    static struct { unsigned char *at; size_t size; unsigned char seed; } blocks[256];
    for (int i = 0; i < 2000; i++) {
        unsigned which = next() % 256;
        if (blocks[which].at) {
            for (size_t k = 0; k < blocks[which].size; k += 61)
                check_equal(blocks[which].at[k], (unsigned char)(blocks[which].seed + k));
            free(blocks[which].at);
            blocks[which].at = NULL;
        } else {
            size_t size = next() % 3 ? next() % 500 + 1 : next() % 200000 + 1;
            unsigned char seed = next();
            unsigned char *at = malloc(size);
            check(at, "malloc");
            for (size_t k = 0; k < size; k++)
                at[k] = seed + k;
            blocks[which].at = at;
            blocks[which].size = size;
            blocks[which].seed = seed;
        }
    }
}

/* Many signals to oneself: none may be lost or come twice. */
static volatile sig_atomic_t taken;
static void take(int sig)
{
    (void)sig;
    taken++;
}
static void signals_round(void)
{
    static int sent;
    static int ready;
    if (!ready++) {
        struct sigaction action = { .sa_handler = take, .sa_flags = SA_RESTART };
        must(sigaction(SIGUSR1, &action, NULL));
    }
    for (int i = 0; i < 500; i++) {
        must(raise(SIGUSR1));
        sent++;
        check_equal(taken, sent);
    }
}

/* A stack that grows and shrinks. */
static uint64_t descend(int depth, uint64_t value)
{
    volatile uint64_t here[64];
    for (int i = 0; i < 64; i++)
        here[i] = value + i;
    uint64_t below = depth ? descend(depth - 1, value * 3 + 1) : 0;
    for (int i = 0; i < 64; i++)
        check_equal(here[i], value + i);
    return below + here[0];
}
static void recursion_round(void)
{
    uint64_t seed = next();
    int depth = next() % 4000;
    uint64_t expected = 0;
    for (uint64_t value = seed, i = 0; i <= (uint64_t)depth; i++, value = value * 3 + 1)
        expected += value;
    check_equal(descend(depth, seed), expected);
}

/* Formatted output through a pipe of its own. */
static void pipe_round(void)
{
    static FILE *in, *out;
    static unsigned long written, read_back;
    if (!out) {
        int ends[2];
        must(pipe(ends));
        in = fdopen(ends[0], "r");
        out = fdopen(ends[1], "w");
        setvbuf(out, NULL, _IOLBF, 0);
    }
    for (int i = 0; i < 200; i++)
        check(fprintf(out, "line %lu of many\n", written++) > 0, "fprintf");
    for (int i = 0; i < 200; i++) {
        char line[100];
        unsigned long number;
        check(fgets(line, sizeof line, in) && sscanf(line, "line %lu of many", &number) == 1, "a line is not whole");
        check_equal(number, read_back++);
    }
}

/* Wide registers that hold the only copy of what they hold: as wide as the CPU has them. */
#define VECTOR_ROUND(name, bytes, features)                                                          \
    __attribute__((target(features))) static void name(void)                                         \
    {                                                                                                \
        typedef uint64_t wide __attribute__((vector_size(bytes)));                                   \
        wide a = { 0 }, one = a + 1, b = a + 8, c = a + 16;                                          \
        for (int i = 0; i < 300000; i++) {                                                           \
            a += one;                                                                                \
            b += a & one;                                                                            \
            c ^= one;                                                                                \
            __asm__ volatile("" : "+v"(a), "+v"(b), "+v"(c), "+v"(one));                             \
        }                                                                                            \
        for (unsigned i = 0; i < bytes / 8; i++) {                                                   \
            check_equal(a[i], 300000);                                                               \
            check_equal(b[i], 8 + 150000);                                                           \
            check_equal(c[i], 16);                                                                   \
            check_equal(one[i], 1);                                                                  \
        }                                                                                            \
    }
VECTOR_ROUND(vector_512, 64, "avx512f")
VECTOR_ROUND(vector_256, 32, "avx2")
VECTOR_ROUND(vector_128, 16, "sse2")
static void vector_round(void)
{
    if (__builtin_cpu_supports("avx512f"))
        vector_512();
    if (__builtin_cpu_supports("avx2"))
        vector_256();
    vector_128();
}

/* Mappings that come and go. */
static void maps_round(void)
{
    static unsigned char *area[64];
    static size_t pages[64];
    for (int i = 0; i < 100; i++) {
        unsigned which = next() % 64;
        if (area[which]) {
            for (size_t k = 0; k < pages[which]; k++)
                check_equal(area[which][k * PAGE + k % PAGE], (unsigned char)(which + k));
            if (next() % 4 == 0) {
                must(mprotect(area[which], pages[which] * PAGE, PROT_READ));
                check_equal(area[which][0], (unsigned char)which);
            }
            must(munmap(area[which], pages[which] * PAGE));
            area[which] = NULL;
        } else {
            pages[which] = next() % 64 + 1;
            area[which] = mmap(NULL, pages[which] * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            check(area[which] != MAP_FAILED, "mmap: %s", strerror(errno));
            for (size_t k = 0; k < pages[which]; k++)
                area[which][k * PAGE + k % PAGE] = which + k;
        }
    }
}

/* Children that end with a code of the parent's choice. After a restart an older child is somebody else's, and gone. */
static void forks_round(void)
{
    for (int i = 0; i < 10; i++) {
        int code = next() % 200;
        unsigned before = restarts();
        pid_t child = must(fork());
        if (child == 0)
            _exit(code);
        int status;
        pid_t got = waitpid(child, &status, 0);
        if (got == -1 && errno == ECHILD && restarts() != before)
            continue;
        check_equal(got, child);
        check_equal(status, code << 8);
    }
}

/* Threads that share a counter under a lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long counter;
static void *count(void *unused)
{
    (void)unused;
    for (int i = 0; i < 5000; i++) {
        pthread_mutex_lock(&lock);
        counter++;
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}
static void threads_round(void)
{
    pthread_t threads[4];
    unsigned long before = counter;
    for (int i = 0; i < 4; i++)
        check_equal(pthread_create(&threads[i], NULL, count, NULL), 0);
    for (int i = 0; i < 4; i++)
        check_equal(pthread_join(threads[i], NULL), 0);
    check_equal(counter, before + 4 * 5000);
}

int main(int argc, char **argv)
{
    static const struct mode modes[] = {
        { "alloc", alloc_round }, { "signals", signals_round }, { "recursion", recursion_round }, { "pipe", pipe_round },
        { "vector", vector_round }, { "maps", maps_round }, { "forks", forks_round }, { "threads", threads_round },
        { NULL, NULL },
    };
    run(modes, argc, argv);
}
