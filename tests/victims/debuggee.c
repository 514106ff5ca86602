/* For debuggers: a stack of three functions with arguments and locals, and a global. */
/* build: gcc -O0 -g3 */
#include "victim.h"
#include <math.h>

struct point {
    int x, y;
    const char *name;
} global = { 3, 4, "the point" };
volatile uint64_t *control;

__attribute__((noinline)) static int inner(int depth, struct point *where)
{
    int local = depth * 1000 + where->x;
    while (!*control)
        ;
    return local;
}

__attribute__((noinline)) static int middle(int depth)
{
    struct point mine = { depth, -depth, "mine" };
    return inner(depth + 1, &mine) + mine.y;
}

int main(int argc, char **argv)
{
    (void)argv;
    control = map_control(NULL);
    say_ready();
    check_equal(middle(argc + 40), 42000 + 41 - 41);
    pass();
}
