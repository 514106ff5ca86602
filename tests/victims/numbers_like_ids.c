/* Numbers that happen to be the ids of the program and of its threads, in every place that looks like a lock or like an id on its way into a call. A program keeps its numbers,
 * whatever ids it has after a restart. build: gcc -O2 -pthread */
#include "victim.h"
#include <pthread.h>

/* What a library knows of a task; in a list it looks like a mutex that is held. */
struct task {
    int kind, id, priority, state, pad, length;
    struct task *next, *previous;
};

struct numbers {
    /* Mutexes of glibc and musl, read-write locks, streams: word by word. */
    uint32_t recursive[10], checking[10], robust[10], inheriting[10], readwrite[14], of_musl[10], stream[12];
    uint32_t all[4096];
    struct task tasks[64];
};

enum { THREADS = 3 };

static struct {
    uint32_t ids[THREADS + 1];
    struct numbers *memory[5], *copy;
} shared_by_all;

static volatile int arrived, stop;

static void fill(struct numbers *n, uint32_t id)
{
    uint32_t low = (uint32_t)(uintptr_t)n->tasks, high = (uint32_t)((uintptr_t)n->tasks >> 32);
    memcpy(n->recursive, (uint32_t[]){ 1, 1, id, 1, 1 }, 20);
    memcpy(n->checking, (uint32_t[]){ 2, 0, id, 1, 2 }, 20);
    memcpy(n->robust, (uint32_t[]){ id, 1, id, 1, 0x31 }, 20);
    memcpy(n->inheriting, (uint32_t[]){ id | 1u << 31, 0, id, 1, 0x20 }, 20);
    memcpy(n->readwrite, (uint32_t[]){ 3, 0, 1, 1, 0, 0, id }, 28);
    memcpy(n->of_musl, (uint32_t[]){ 1, id, 0, 0, 0, 0, low, high, low, high }, 40);
    memcpy(n->stream, (uint32_t[]){ low, high, 1, 0, 0, 0, 0, id, 10 }, 36);
    for (int i = 0; i < 4096; i++)
        n->all[i] = i % 3 ? id : (uint32_t)i;
    for (int i = 0; i < 64; i++)
        n->tasks[i] = (struct task){ 1 + i % 2, (int)id, i % 8, i, 0, i * 10, n->tasks + (i + 1) % 64, n->tasks + (i + 63) % 64 };
}

/* Numbers in registers, which the kernel puts side by side into a signal frame, and on the stack, until `stop`. */
static void hold(uint64_t id)
{
    volatile uint32_t stack[64];
    uint64_t first = 0, second = 0, third = 0;
    for (int i = 0; i < 64; i++)
        stack[i] = (uint32_t)id;
    asm volatile(
        "mov %[id], %%r14\n"
        "mov %[id], %%r15\n"
        "mov %[id], %%rsi\n"
        "mov $0x11, %%edi\n"
        "1: pause\n"
        "cmpl $0, (%[stop])\n"
        "je 1b\n"
        "mov %%r14, %[first]\n"
        "mov %%r15, %[second]\n"
        "mov %%rsi, %[third]\n"
        : [first] "=&r"(first), [second] "=&r"(second), [third] "=&r"(third)
        : [id] "r"(id), [stop] "r"(&stop)
        : "r14", "r15", "rdi", "rsi", "cc", "memory");
    check_equal(first, id);
    check_equal(second, id);
    check_equal(third, id);
    for (int i = 0; i < 64; i++)
        check_equal(stack[i], id);
}

static void *work(void *index)
{
    shared_by_all.ids[(intptr_t)index] = gettid();
    __atomic_add_fetch((int *)&arrived, 1, __ATOMIC_SEQ_CST);
    hold(gettid());
    return NULL;
}

static void *room(int flags, int fd)
{
    size_t size = (sizeof(struct numbers) * (THREADS + 1) + PAGE) / PAGE * PAGE;
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    check(at != MAP_FAILED, "mmap: %s", strerror(errno));
    return at;
}

int main(int argc, char **argv)
{
    (void)argv;
    /* With an argument, a program with one thread. */
    int threads = argc > 1 ? 0 : THREADS;
    pthread_t pool[THREADS];
    for (intptr_t i = 0; i < threads; i++)
        check_equal(pthread_create(pool + i, NULL, work, (void *)(i + 1)), 0);
    while (arrived < threads)
        usleep(1000);
    shared_by_all.ids[0] = getpid();
    int file = must(memfd_create("numbers", 0));
    must(ftruncate(file, 1 << 20));
    struct numbers **memory = shared_by_all.memory;
    memory[0] = room(MAP_PRIVATE | MAP_ANONYMOUS, -1);
    memory[1] = room(MAP_SHARED | MAP_ANONYMOUS, -1);
    memory[2] = room(MAP_SHARED, file);
    memory[3] = calloc(THREADS + 1, sizeof(struct numbers));
    /* At no multiple of 8. */
    memory[4] = (void *)((char *)room(MAP_PRIVATE | MAP_ANONYMOUS, -1) + 4);
    struct numbers *copy = shared_by_all.copy = malloc(sizeof(struct numbers) * 5 * (THREADS + 1));
    for (int m = 0; m < 5; m++)
        for (int i = 0; i <= threads; i++)
            fill(memory[m] + i, shared_by_all.ids[i]);
    for (int m = 0; m < 5; m++)
        for (int i = 0; i <= threads; i++) {
            memcpy(copy + m * (THREADS + 1) + i, memory[m] + i, sizeof(struct numbers));
            /* So that a change of both alike is seen. */
            for (size_t byte = 0; byte < sizeof(struct numbers); byte++)
                ((unsigned char *)(copy + m * (THREADS + 1) + i))[byte] ^= 0xa5;
        }
    checkpoint_here();
    stop = 1;
    hold(shared_by_all.ids[0]);
    for (int i = 0; i < threads; i++)
        check_equal(pthread_join(pool[i], NULL), 0);
    for (int m = 0; m < 5; m++)
        for (int i = 0; i <= threads; i++) {
            unsigned char *now = (unsigned char *)(memory[m] + i), *before = (unsigned char *)(copy + m * (THREADS + 1) + i);
            for (size_t byte = 0; byte < sizeof(struct numbers); byte++)
                check(now[byte] == (before[byte] ^ 0xa5), "memory %d, numbers of thread %d: byte %zu is %#x, not %#x", m, i, byte, now[byte],
                      before[byte] ^ 0xa5);
        }
    pass();
}
