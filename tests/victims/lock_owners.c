/* Locks that are held across a restart, and that look at who holds them: the thread has a new id, but it is the same thread. */
#include "victim.h"
#include <pthread.h>

int main(void)
{
    pthread_mutex_t recursive = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
    pthread_mutex_t checking = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
    pthread_rwlock_t readwrite = PTHREAD_RWLOCK_INITIALIZER;
    pthread_mutex_t *inheriting = malloc(sizeof *inheriting);
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    check_equal(pthread_mutex_init(inheriting, &attributes), 0);
    check_equal(pthread_mutex_lock(&recursive), 0);
    check_equal(pthread_mutex_lock(&recursive), 0);
    check_equal(pthread_mutex_lock(&checking), 0);
    check_equal(pthread_rwlock_wrlock(&readwrite), 0);
    check_equal(pthread_mutex_lock(inheriting), 0);
    checkpoint_here();
    check_equal(pthread_mutex_lock(&recursive), 0);
    for (int i = 0; i < 3; i++)
        check_equal(pthread_mutex_unlock(&recursive), 0);
    check_equal(pthread_mutex_unlock(&recursive), EPERM);
    check_equal(pthread_mutex_lock(&checking), EDEADLK);
    check_equal(pthread_mutex_unlock(&checking), 0);
    check_equal(pthread_rwlock_wrlock(&readwrite), EDEADLK);
    check_equal(pthread_rwlock_unlock(&readwrite), 0);
    check_equal(pthread_rwlock_tryrdlock(&readwrite), 0);
    check_equal(pthread_mutex_unlock(inheriting), 0);
    check_equal(pthread_mutex_lock(inheriting), 0);
    pass();
}
