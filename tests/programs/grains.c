/* OpenMP: loops with every kind of schedule, reductions, tasks, critical and ordered sections. */
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#define GRAINS 2048
#define STEPS 400

static double grain[GRAINS];

static uint64_t fibonacci(int n)
{
    uint64_t one, two;
    if (n < 12)
        return n < 2 ? (uint64_t)n : fibonacci(n - 1) + fibonacci(n - 2);
#pragma omp task shared(one)
    one = fibonacci(n - 1);
#pragma omp task shared(two)
    two = fibonacci(n - 2);
#pragma omp taskwait
    return one + two;
}

int main(void)
{
    uint64_t hash = 14695981039346656037u;
    omp_set_num_threads(6);
    for (int step = 0; step < STEPS; step++) {
        /* The harness holds the program here until it has saved it often enough. */
        while (step == STEPS * 3 / 4 && access("go", F_OK) != 0)
            usleep(10000);
        uint64_t sum = 0, number = 0;
        int inside = 0, most = 0;
#pragma omp parallel for schedule(dynamic, 16)
        for (int i = 0; i < GRAINS; i++)
            for (int k = 1; k < 60; k++)
                grain[i] = fma(grain[i], 0.9, sin(i + k) / k);
#pragma omp parallel for reduction(+ : sum) schedule(guided)
        for (int i = 0; i < GRAINS; i++)
            sum += (uint64_t)(grain[i] * 1e9);
#pragma omp parallel for ordered
        for (int i = 0; i < 64; i++)
#pragma omp ordered
            hash = (hash ^ (uint64_t)(grain[i] * 1e9)) * 1099511628211u;
#pragma omp parallel
        {
#pragma omp critical
            most = ++inside > most ? inside : most;
#pragma omp barrier
#pragma omp single
            number = fibonacci(18);
        }
        printf("%d %016lx %016lx %lu %d\n", step, hash, sum, number, most);
        fflush(stdout);
    }
    return 0;
}
