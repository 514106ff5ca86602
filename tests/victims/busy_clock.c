/* Reads clocks through the vdso without a pause: most saves meet it in the middle of one of its functions. */
#include "victim.h"

int main(void)
{
    char go[4200];
    snprintf(go, sizeof go, "%s/go.1", victim_dir);
    struct timespec last = { 0, 0 };
    say_ready();
    while (access(go, F_OK) != 0)
        for (int i = 0; i < 3000; i++) {
            struct timespec now, coarse;
            must(clock_gettime(CLOCK_MONOTONIC, &now));
            must(clock_gettime(CLOCK_MONOTONIC_COARSE, &coarse));
            long long passed = (now.tv_sec - last.tv_sec) * 1000000000LL + now.tv_nsec - last.tv_nsec;
            check(passed >= 0 && (!last.tv_sec || passed < 600000000000LL), "%lld ns have passed", passed);
            check(coarse.tv_sec >= last.tv_sec - 1 && coarse.tv_sec <= now.tv_sec, "%ld s, and %ld s", (long)coarse.tv_sec, (long)now.tv_sec);
            last = now;
        }
    pass();
}
