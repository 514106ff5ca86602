/* A program of many modes, for the soak: it does the rounds of one of them until it is stopped. */
#ifndef ROUNDS_H
#define ROUNDS_H

#include "victim.h"

struct mode {
    const char *name;
    void (*round)(void);
};

static int stopped(void)
{
    static char name[4200];
    if (!name[0])
        snprintf(name, sizeof name, "%s/go.1", victim_dir);
    return access(name, F_OK) == 0;
}

/* Does the mode that the arguments name, or the first; ends with PASS. The last one has no name. */
static void run(const struct mode *modes, int argc, char **argv)
{
    for (const struct mode *mode = modes; mode->name; mode++) {
        if (argc < 2 ? mode != modes : strcmp(argv[1], mode->name))
            continue;
        say_ready();
        while (!stopped())
            mode->round();
        pass();
    }
    fail("no such mode: %s", argv[1]);
}

#endif
