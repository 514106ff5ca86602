/* A thread that waits for a mutex with its own id, and has addresses on its stack whose upper halves are that number. They stay what they are.
 * build: gcc -O2 -pthread */
#include "mutexes.h"

static pthread_mutex_t mutex;
static volatile pid_t tid;

static void *waits(void *unused)
{
    char *volatile pages[64];
    uint64_t wanted = (uint64_t)gettid() << 32 | 0x10000;
    /* Beyond the address space there is nothing to be mistaken. */
    char *page = mmap((void *)(gettid() < 0x7fff ? wanted : 0), PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(page != MAP_FAILED, "mmap: %s", strerror(errno));
    for (int i = 0; i < 64; i++)
        pages[i] = page + i;
    tid = gettid();
    check_equal(pthread_mutex_lock(&mutex), 0);
    for (int i = 0; i < 64; i++)
        check(pages[i] == page + i, "address %d is %p, not %p", i, pages[i], page + i);
    check_equal(pthread_mutex_unlock(&mutex), 0);
    return unused;
}

int main(void)
{
    pthread_t thread;
    make(&mutex, 1, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_ERRORCHECK);
    check_equal(pthread_mutex_lock(&mutex), 0);
    check_equal(pthread_create(&thread, NULL, waits, NULL), 0);
    until_it_sleeps(&tid);
    checkpoint_here();
    check_equal(pthread_mutex_unlock(&mutex), 0);
    check_equal(pthread_join(thread, NULL), 0);
    pass();
}
