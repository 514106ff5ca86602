/* A thread of musl in posix_spawn(3): the libc waits, with every signal blocked, for the end of a pipe whose other end is open in whatever was born
 * meanwhile. The child waits for a FIFO before it executes its program. build: musl-gcc -O2 -pthread */
#include "victim.h"
#include <pthread.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;
static volatile pid_t spawns;

static void *spawn(void *gate)
{
    char *arguments[] = { "true", NULL };
    posix_spawn_file_actions_t actions;
    unsigned before = restarts();
    pid_t child;
    int status;
    check_equal(posix_spawn_file_actions_init(&actions), 0);
    check_equal(posix_spawn_file_actions_addopen(&actions, 0, gate, O_RDONLY, 0), 0);
    spawns = syscall(SYS_gettid);
    check_equal(posix_spawn(&child, "/bin/true", &actions, NULL, arguments, environ), 0);
    /* After a restart the child is not this process's. */
    pid_t got = waitpid(child, &status, 0);
    if (restarts() == before)
        check(got == child && status == 0, "waitpid: %d, status %#x", got, status);
    else
        check(got == -1 && errno == ECHILD, "waitpid: %d: %s", got, strerror(errno));
    return gate;
}

int main(void)
{
    pthread_t thread;
    char gate[4200];
    snprintf(gate, sizeof gate, "%s/gate", victim_dir);
    must(mkfifo(gate, 0600));
    check_equal(pthread_create(&thread, NULL, spawn, gate), 0);
    while (!spawns || thread_state(spawns) != 'D')
        usleep(1000);
    checkpoint_here();
    /* For both, which waits for nobody: the child may not have come to its open(2) yet, and finds a writer then. */
    must(open(gate, O_RDWR | O_CLOEXEC));
    check_equal(pthread_join(thread, NULL), 0);
    pass();
}
