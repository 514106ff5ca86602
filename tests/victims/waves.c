/* build: gcc -O2 -pthread
 * A number that runs through many pages: one more in each page in turn, and each time it must be the number of the pass before. Memory that was
 * put together from two moments does not hold. With the argument "threads", two more do the same in areas of their own, with pauses; with
 * "large", there is so much memory that a writer is at work for a while.
 *
 * Word 1 of the control page, and 2 and 3 for the threads, say how many passes there were. With word 4, the program forks, and the child counts as
 * the first thread; with word 5, it becomes another program. */
#include "victim.h"
#include <pthread.h>

#define PAGES 256
#define WORDS (PAGE / 8)

static volatile uint64_t *control;
static unsigned char *still;
static size_t size = 2UL << 20;

static void *waves(void *number)
{
    long n = (long)number;
    volatile uint64_t *area = must(mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    /* On the stack: registers and memory must be of one moment too. */
    for (volatile uint64_t pass = 1;; pass++) {
        for (uint64_t i = 0; i < PAGES; i++) {
            uint64_t at = i * WORDS + (i * 37) % WORDS;
            check_equal(area[at], pass - 1);
            area[at] = pass;
        }
        for (uint64_t k = pass % 64 * (size / 64), end = k + size / 64; k < end; k += 509)
            check_equal(still[k], (unsigned char)(k * 7 + k / 4099));
        control[1 + n] = pass;
        if (control[0])
            return NULL;
        if (n == 0 && control[4]) {
            control[4] = 0;
            if (must(fork()) == 0)
                n = 1;
        }
        if (n == 0 && control[5])
            must(execl("/bin/true", "true", NULL));
        /* There may be fewer CPUs than threads. */
        if (n > 0)
            usleep(200);
    }
}

int main(int argc, char **argv)
{
    control = map_control(NULL);
    int has_threads = argc > 1 && !strcmp(argv[1], "threads");
    if (argc > 1 && !strcmp(argv[1], "large"))
        size = 48UL << 20;
    still = malloc(size);
    for (uint64_t k = 0; k < size; k++)
        still[k] = k * 7 + k / 4099;
    pthread_t threads[2];
    for (long n = 0; has_threads && n < 2; n++)
        check_equal(pthread_create(&threads[n], NULL, waves, (void *)(n + 1)), 0);
    say_ready();
    waves(NULL);
    for (int n = 0; has_threads && n < 2; n++)
        check_equal(pthread_join(threads[n], NULL), 0);
    pass();
}
