/* A thread executes another program, some microseconds after a save was asked for: the first thread or another one, with the first or another one as the one
   that saves. The program that it executes must not notice. */
#include "victim.h"
#include <pthread.h>
#include <signal.h>

#define THREADS 24
#define WORDS 200

static pthread_barrier_t start;
static char *self, *delay;

static void *work(void *unused)
{
    pthread_barrier_wait(&start);
    pause();
    return unused;
}

static void execute(pthread_t leader)
{
    /* The kernel copies them first: it is in the call for a while. */
    static char word[8000], *words[WORDS + 3];
    struct timespec rest = { 0, 1000 * atol(delay) };
    memset(word, 'x', sizeof(word) - 1);
    words[0] = self;
    words[1] = "new";
    for (int i = 0; i < WORDS; i++)
        words[i + 2] = word;
    pthread_barrier_wait(&start);
    check_equal(pthread_kill(leader, SIGUSR2), 0);
    if (rest.tv_nsec)
        syscall(SYS_nanosleep, &rest, NULL);
    execv("/proc/self/exe", words);
    must(-1);
}

static void *other(void *leader)
{
    execute(*(pthread_t *)leader);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS], last, leader = pthread_self();
    if (argc < 2)
        pass();
    if (!strcmp(argv[1], "new"))
        _exit(7);
    self = argv[0];
    delay = argv[1];
    int is_first = strchr(argv[2], 'e') != NULL, leads = strchr(argv[2], 'l') != NULL;
    pthread_barrier_init(&start, NULL, THREADS + 1 + !is_first);
    for (int i = 0; i < THREADS; i++)
        check_equal(pthread_create(&threads[i], NULL, work, NULL), 0);
    if (!leads)
        leader = threads[0];
    if (is_first)
        execute(leader);
    check_equal(pthread_create(&last, NULL, other, &leader), 0);
    pthread_barrier_wait(&start);
    pause();
    return 1;
}
