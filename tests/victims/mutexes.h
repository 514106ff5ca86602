/* Mutexes of all kinds, for victims. */
#ifndef MUTEXES_H
#define MUTEXES_H

#include "victim.h"
#include <pthread.h>

static void make(pthread_mutex_t *mutex, int is_robust, int protocol, int type)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    if (is_robust)
        pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setprotocol(&attributes, protocol);
    pthread_mutexattr_settype(&attributes, type);
    check_equal(pthread_mutex_init(mutex, &attributes), 0);
}

/* Until the thread sleeps in futex(2). */
__attribute__((unused)) static void until_it_sleeps(volatile pid_t *tid)
{
    while (!*tid)
        usleep(1000);
    for (int times = 0; times < 5; usleep(1000))
        times = thread_state(*tid) == 'S' ? times + 1 : 0;
}

#endif
