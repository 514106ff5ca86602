/* The harness deletes the executable and the libraries before the restart: the image has all of them. */
/* build: gcc -O2 -lm */
#include "victim.h"
#include <math.h>

static int ascending(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* More than a page of program text that nothing has touched before the restart. */
#define T(n) __attribute__((noinline, used)) static int text_##n(int x) { return (x * (2 * n + 1)) ^ (x >> (n % 7)); }
#define T4(n) T(n##0) T(n##1) T(n##2) T(n##3) T(n##4) T(n##5) T(n##6) T(n##7)
T4(1) T4(2) T4(3) T4(4) T4(5) T4(6) T4(7) T4(8)

int main(int argc, char **argv)
{
    (void)argv;
    checkpoint_here();
    int numbers[1000];
    for (int i = 0; i < 1000; i++)
        numbers[i] = (i * 7919) % 1000;
    qsort(numbers, 1000, sizeof numbers[0], ascending);
    for (int i = 0; i < 1000; i++)
        check_equal(numbers[i], i);
    check(fabs(sin(argc) * sin(argc) + cos(argc) * cos(argc) - 1) < 1e-12, "sin and cos");
    check(strtod("2.5", NULL) == 2.5, "strtod");
    check_equal(text_87(argc), (argc * 175) ^ (argc >> 3));
    char text[64];
    struct tm tm;
    time_t when = 86400 * 365;
    check(strftime(text, sizeof text, "%Y-%m-%d", gmtime_r(&when, &tm)) == 10 && !strcmp(text, "1971-01-01"), "strftime: %s",
          text);
    pass();
}
