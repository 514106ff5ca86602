/* Reads the clock through the vdso without a pause: most saves meet it in the middle of that function.
 *
 * The coarse clocks are left out: their function uses the time pages without asking whether there is a clock, so that under another kernel an
 * interrupted call of it tells zero, once (docs/state.md). */
#include "victim.h"

int main(void)
{
    char go[4200];
    snprintf(go, sizeof go, "%s/go.1", victim_dir);
    struct timespec last = { 0, 0 };
    say_ready();
    while (access(go, F_OK) != 0)
        for (int i = 0; i < 3000; i++) {
            struct timespec now;
            must(clock_gettime(CLOCK_MONOTONIC, &now));
            long long passed = (now.tv_sec - last.tv_sec) * 1000000000LL + now.tv_nsec - last.tv_nsec;
            check(passed >= 0 && (!last.tv_sec || passed < 600000000000LL), "%lld ns have passed", passed);
            last = now;
        }
    pass();
}
