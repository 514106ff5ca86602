/* A prime sieve by wheels, a hash of strings and formatted output through stdio. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct node {
    struct node *next;
    char text[40];
};

int main(void)
{
    static struct node *table[257];
    static char composite[6000001];
    unsigned long seed = 42, primes = 0;
    double sum = 0;
    for (int n = 2; n <= 6000000; n++) {
        /* The harness holds the program here until it has saved it often enough. */
        while (n == 4500000 && access("go", F_OK) != 0)
            usleep(1000);
        if (!composite[n]) {
            primes++;
            sum += 1.0 / n;
            for (long m = (long)n * n; m <= 6000000; m += n)
                composite[m] = 1;
        }
        for (int i = 0; i < 150; i++)
            seed = seed * 6364136223846793005u + 1442695040888963407u;
        if (n % 500 == 0) {
            struct node *node = malloc(sizeof *node);
            snprintf(node->text, sizeof node->text, "%lx-%lu", seed, primes);
            node->next = table[seed % 257];
            table[seed % 257] = node;
            printf("%d %lu %.12f %s %.9f\n", n, primes, sum, node->text, sin(n));
        }
    }
    unsigned long check = 0;
    for (int i = 0; i < 257; i++)
        for (struct node *node = table[i]; node; node = node->next)
            check = check * 31 + strlen(node->text) + node->text[0];
    printf("%lx\n", check);
    return 7;
}
