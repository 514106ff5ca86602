/* A stream that a thread has locked, for more than one line of output: musl keeps the thread's id in it. build: gcc -O2 -pthread */
#include "victim.h"
#include <pthread.h>

static volatile int locked, stop;

static void *holds(void *stream)
{
    flockfile(stream);
    flockfile(stream);
    check(fprintf(stream, "one, ") > 0, "fprintf: %s", strerror(errno));
    locked = 1;
    while (!stop)
        usleep(1000);
    check(fprintf(stream, "two\n") > 0, "fprintf: %s", strerror(errno));
    funlockfile(stream);
    check(fprintf(stream, "three\n") > 0, "fprintf: %s", strerror(errno));
    funlockfile(stream);
    return stream;
}

int main(void)
{
    pthread_t thread;
    char text[100] = { 0 };
    FILE *stream = tmpfile();
    check(stream, "tmpfile: %s", strerror(errno));
    check_equal(pthread_create(&thread, NULL, holds, stream), 0);
    while (!locked)
        usleep(1000);
    checkpoint_here();
    check(ftrylockfile(stream) != 0, "nobody holds it");
    stop = 1;
    check_equal(pthread_join(thread, NULL), 0);
    check_equal(ftrylockfile(stream), 0);
    rewind(stream);
    check_equal(fread(text, 1, sizeof text - 1, stream), 15);
    check(!strcmp(text, "one, two\nthree\n"), "%s", text);
    funlockfile(stream);
    pass();
}
