/* Goes through what libcs do in threads, without end until told to stop, and checks its own results: it is saved and restarted at random instructions,
 * many of them in the middle of a libc's bookkeeping. build: gcc -O2 -pthread
 *
 * churn MODE: see the table at the end */
#include "rounds.h"
#include <pthread.h>
#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#ifdef __GLIBC__
#include <aio.h>
#include <dlfcn.h>
#endif

#define THREADS 4
#define MILLISECOND 1000000LL
#define right(call) check_equal(call, 0)

extern char **environ;

static long long now(void)
{
    struct timespec time;
    must(clock_gettime(CLOCK_MONOTONIC, &time));
    return time.tv_sec * 1000 * MILLISECOND + time.tv_nsec;
}

static struct timespec after(clockid_t clock, long long wait)
{
    struct timespec time;
    must(clock_gettime(clock, &time));
    wait += time.tv_nsec;
    time.tv_sec += wait / (1000 * MILLISECOND);
    time.tv_nsec = wait % (1000 * MILLISECOND);
    return time;
}

/* Runs a function in some threads, with their number as its argument, and waits for them. */
static void in_threads(void *(*work)(void *), int count)
{
    pthread_t threads[16];
    for (intptr_t i = 0; i < count; i++)
        right(pthread_create(&threads[i], NULL, work, (void *)i));
    for (intptr_t i = 0; i < count; i++) {
        void *result;
        right(pthread_join(threads[i], &result));
        check(result == (void *)i, "thread %d returned %p", (int)i, result);
    }
}

/* Timers that start functions in threads. */
static sem_t called;
static void call(union sigval value)
{
    check_equal(value.sival_int, 77);
    sem_post(&called);
}
static void timers_round(void)
{
    timer_t timers[3];
    for (int i = 0; i < 3; i++) {
        struct sigevent event = { .sigev_notify = SIGEV_THREAD, .sigev_value.sival_int = 77 };
        event.sigev_notify_function = call;
        must(timer_create(CLOCK_MONOTONIC, &event, &timers[i]));
        struct itimerspec soon = { { 0, 0 }, { 0, 100000 * i + 1 } };
        must(timer_settime(timers[i], 0, &soon, NULL));
    }
    for (int i = 0; i < 3; i++)
        while (sem_wait(&called))
            check_equal(errno, EINTR);
    for (int i = 0; i < 3; i++)
        must(timer_delete(timers[i]));
}

/* Threads that are born and die, also detached ones. */
static sem_t gone;
static void *nothing(void *number)
{
    return number;
}
static void *post(void *semaphore)
{
    sem_post(semaphore);
    return NULL;
}
static void births_round(void)
{
    in_threads(nothing, THREADS);
    pthread_attr_t attributes;
    right(pthread_attr_init(&attributes));
    right(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED));
    for (int i = 0; i < THREADS; i++) {
        pthread_t thread;
        right(pthread_create(&thread, &attributes, post, &gone));
    }
    for (int i = 0; i < THREADS; i++)
        while (sem_wait(&gone))
            check_equal(errno, EINTR);
    right(pthread_attr_destroy(&attributes));
}

/* Threads that are cancelled: on the CPU, in a call, in a condition variable. */
static pthread_mutex_t cancel_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cancel_never = PTHREAD_COND_INITIALIZER;
static volatile int cleaned;
static void clean(void *lock)
{
    __atomic_add_fetch(&cleaned, 1, __ATOMIC_SEQ_CST);
    if (lock)
        pthread_mutex_unlock(lock);
}
static void *sleeps(void *unused)
{
    pthread_cleanup_push(clean, NULL);
    for (;;)
        usleep(500);
    pthread_cleanup_pop(0);
    return unused;
}
static void *spins(void *unused)
{
    int old;
    pthread_cleanup_push(clean, NULL);
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
    sem_post(&gone);
    for (;;)
        ;
    pthread_cleanup_pop(0);
    return unused;
}
static void *waits(void *unused)
{
    right(pthread_mutex_lock(&cancel_lock));
    pthread_cleanup_push(clean, &cancel_lock);
    for (;;)
        pthread_cond_wait(&cancel_never, &cancel_lock);
    pthread_cleanup_pop(0);
    return unused;
}
static void cancels_round(void)
{
    void *(*const work[])(void *) = { sleeps, spins, waits };
    pthread_t threads[3];
    int before = cleaned;
    for (int i = 0; i < 3; i++)
        right(pthread_create(&threads[i], NULL, work[i], NULL));
    while (sem_wait(&gone))
        ;
    usleep(100);
    for (int i = 0; i < 3; i++)
        right(pthread_cancel(threads[i]));
    for (int i = 0; i < 3; i++) {
        void *result;
        right(pthread_join(threads[i], &result));
        check(result == PTHREAD_CANCELED, "thread %d: %p", i, result);
    }
    /* One that was cancelled before it had begun cleans nothing. */
    check(cleaned - before <= 3 && cleaned - before >= 1, "%d cleaned", cleaned - before);
}

/* Locks that look at who holds them, and that the kernel follows. */
static pthread_mutex_t recursive, checking, robust, inheriting, both;
static pthread_rwlock_t table = PTHREAD_RWLOCK_INITIALIZER;
static pthread_cond_t turn = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static volatile int whose;
static unsigned long under[6];
static void make(pthread_mutex_t *mutex, int is_robust, int protocol, int type)
{
    pthread_mutexattr_t attributes;
    right(pthread_mutexattr_init(&attributes));
    if (is_robust)
        right(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST));
    right(pthread_mutexattr_setprotocol(&attributes, protocol));
    right(pthread_mutexattr_settype(&attributes, type));
    right(pthread_mutex_init(mutex, &attributes));
}
static void count(volatile unsigned long *number)
{
    unsigned long before = *number;
    for (volatile int i = 0; i < 20; i++)
        ;
    *number = before + 1;
}
static void *locks_work(void *number)
{
    for (int i = 0; i < 200; i++) {
        right(pthread_mutex_lock(&recursive));
        right(pthread_mutex_lock(&recursive));
        count(&under[0]);
        right(pthread_mutex_unlock(&recursive));
        right(pthread_mutex_unlock(&recursive));
        right(pthread_mutex_lock(&checking));
        check_equal(pthread_mutex_lock(&checking), EDEADLK);
        count(&under[1]);
        right(pthread_mutex_unlock(&checking));
        check_equal(pthread_mutex_unlock(&checking), EPERM);
        right(pthread_mutex_lock(&robust));
        count(&under[2]);
        right(pthread_mutex_unlock(&robust));
        right(pthread_mutex_lock(&inheriting));
        right(pthread_mutex_lock(&inheriting));
        count(&under[3]);
        right(pthread_mutex_unlock(&inheriting));
        right(pthread_mutex_unlock(&inheriting));
        right(pthread_rwlock_wrlock(&table));
        count(&under[4]);
        right(pthread_rwlock_unlock(&table));
        right(pthread_rwlock_rdlock(&table));
        right(pthread_rwlock_unlock(&table));
        if (i % 20 == 0) {
            int result = pthread_barrier_wait(&barrier);
            check(result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD, "barrier: %d", result);
        }
    }
    return number;
}
static void locks_round(void)
{
    static int ready;
    if (!ready++) {
        make(&recursive, 0, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_RECURSIVE);
        make(&checking, 0, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_ERRORCHECK);
        make(&robust, 1, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_ERRORCHECK);
        make(&inheriting, 0, PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_RECURSIVE);
        right(pthread_barrier_init(&barrier, NULL, THREADS));
    }
    unsigned long before = under[0];
    in_threads(locks_work, THREADS);
    for (int i = 0; i < 5; i++)
        check_equal(under[i], before + THREADS * 200);
}

/* Threads that take turns, by a condition variable with a lock that looks at who holds it. */
static void *turns_work(void *number)
{
    for (int i = 0; i < 50; i++) {
        right(pthread_mutex_lock(&checking));
        while (whose != (intptr_t)number)
            if (i % 2) {
                right(pthread_cond_wait(&turn, &checking));
            } else {
                struct timespec until = after(CLOCK_REALTIME, MILLISECOND);
                int result = pthread_cond_timedwait(&turn, &checking, &until);
                check(result == 0 || result == ETIMEDOUT, "cond: %d", result);
            }
        count(&under[5]);
        whose = (whose + 1) % THREADS;
        right(pthread_cond_broadcast(&turn));
        check_equal(pthread_mutex_lock(&checking), EDEADLK);
        right(pthread_mutex_unlock(&checking));
    }
    return number;
}
static void turns_round(void)
{
    static int ready;
    if (!ready++)
        make(&checking, 0, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_ERRORCHECK);
    unsigned long before = under[5];
    in_threads(turns_work, THREADS);
    check_equal(under[5], before + THREADS * 50);
}

/* Robust locks whose owners die. */
static void *dies(void *number)
{
    for (int i = 0; i < 3; i++) {
        pthread_mutex_t *lock = i % 2 ? &both : &robust;
        int result = pthread_mutex_lock(lock);
        if (result == EOWNERDEAD)
            right(pthread_mutex_consistent(lock));
        else
            right(result);
        count(&under[i % 2]);
        if (i < 2)
            right(pthread_mutex_unlock(lock));
    }
    return number;
}
static void robust_round(void)
{
    static int ready;
    if (!ready++) {
        make(&robust, 1, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_RECURSIVE);
        make(&both, 1, PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_ERRORCHECK);
    }
    unsigned long before[] = { under[0], under[1] };
    in_threads(dies, THREADS);
    check_equal(under[0], before[0] + THREADS * 2);
    check_equal(under[1], before[1] + THREADS);
}

/* Signals from thread to thread and to oneself: none may be lost or come twice. */
static volatile int taken[THREADS + 1];
static __thread int me;
static volatile int can_go;
static void take(int sig)
{
    (void)sig;
    __atomic_add_fetch(&taken[me], 1, __ATOMIC_SEQ_CST);
}
static void *target(void *number)
{
    me = (int)(intptr_t)number;
    sem_post(&gone);
    while (!can_go)
        usleep(200);
    return number;
}
static void kills_round(void)
{
    static int ready;
    if (!ready++) {
        struct sigaction action = { .sa_handler = take, .sa_flags = SA_RESTART };
        must(sigaction(SIGUSR1, &action, NULL));
        me = THREADS;
    }
    pthread_t threads[THREADS];
    can_go = 0;
    for (intptr_t i = 0; i < THREADS; i++) {
        taken[i] = 0;
        right(pthread_create(&threads[i], NULL, target, (void *)i));
    }
    for (int i = 0; i < THREADS; i++)
        while (sem_wait(&gone))
            ;
    for (int n = 1; n <= 50; n++) {
        for (int i = 0; i < THREADS; i++)
            right(pthread_kill(threads[i], SIGUSR1));
        int before = taken[THREADS];
        right(raise(SIGUSR1));
        check_equal(taken[THREADS], before + 1);
        for (int i = 0; i < THREADS; i++)
            while (taken[i] != n)
                sched_yield();
    }
    can_go = 1;
    for (int i = 0; i < THREADS; i++)
        right(pthread_join(threads[i], NULL));
}

/* What a libc asks and tells the kernel about another thread. */
static void attributes_round(void)
{
    pthread_t thread;
    can_go = 0;
    right(pthread_create(&thread, NULL, target, (void *)0));
    while (sem_wait(&gone))
        ;
    for (int i = 0; i < 100; i++) {
        struct sched_param param;
        int policy;
        cpu_set_t cpus;
        right(pthread_getaffinity_np(thread, sizeof cpus, &cpus));
        right(pthread_setaffinity_np(thread, sizeof cpus, &cpus));
        right(pthread_getschedparam(thread, &policy, &param));
        right(pthread_setschedparam(thread, policy, &param));
        right(pthread_setschedprio(thread, param.sched_priority));
    }
    can_go = 1;
    right(pthread_join(thread, NULL));
}

/* Ids that a libc sets in all threads at once. */
static void ids_round(void)
{
    pthread_t threads[THREADS];
    can_go = 0;
    for (intptr_t i = 0; i < THREADS; i++)
        right(pthread_create(&threads[i], NULL, target, (void *)i));
    for (int i = 0; i < THREADS; i++)
        while (sem_wait(&gone))
            ;
    for (int i = 0; i < 10; i++) {
        gid_t group = getegid();
        uid_t user = geteuid();
        must(setresgid(group, group, group));
        must(setresuid(user, user, user));
    }
    can_go = 1;
    for (int i = 0; i < THREADS; i++)
        right(pthread_join(threads[i], NULL));
}

/* Children of threads. After a restart an older child is somebody else's, and gone. */
static void wait_for(pid_t child, unsigned before, int code)
{
    int status;
    pid_t got;
    do
        got = waitpid(child, &status, 0);
    while (got == -1 && errno == EINTR);
    if (got == -1 && errno == ECHILD && restarts() != before)
        return;
    check_equal(got, child);
    check_equal(status, code << 8);
}
static void *executes(void *number)
{
    char *arguments[] = { "sh", "-c", "exit 7", NULL };
    for (int i = 0; i < 2; i++) {
        unsigned before = restarts();
        pid_t child = must(fork());
        if (child == 0) {
            execv("/bin/sh", arguments);
            _exit(1);
        }
        wait_for(child, before, 7);
        before = restarts();
        right(posix_spawn(&child, "/bin/sh", NULL, NULL, arguments, environ));
        wait_for(child, before, 7);
        before = restarts();
        int status = system("exit 7");
        check(status == 7 << 8 || (status == -1 && errno == ECHILD && restarts() != before), "system: %#x: %s; %u restarts before, %u now", status, strerror(errno), before, restarts());
    }
    return number;
}
static void executes_round(void)
{
    in_threads(executes, 2);
}

/* Jumps out of functions and of handlers, on alternate stacks that come and go. */
static __thread sigjmp_buf out;
static __thread volatile int on_alternate;
static void leap(int sig)
{
    char here;
    stack_t stack;
    must(sigaltstack(NULL, &stack));
    on_alternate = &here >= (char *)stack.ss_sp && &here < (char *)stack.ss_sp + stack.ss_size;
    siglongjmp(out, sig);
}
static void *jumps(void *number)
{
    for (int i = 0; i < 100; i++) {
        stack_t stack = { .ss_sp = malloc(65536), .ss_size = 65536 }, off = { .ss_flags = SS_DISABLE };
        must(sigaltstack(&stack, NULL));
        volatile int turns = i;
        int got = sigsetjmp(out, 1);
        if (got == 0) {
            right(pthread_kill(pthread_self(), SIGUSR1));
            fail("the signal did not come");
        }
        check_equal(got, SIGUSR1);
        check_equal(turns, i);
        check_equal(on_alternate, 1);
        must(sigaltstack(&off, NULL));
        free(stack.ss_sp);
        if (sigsetjmp(out, 0) == 0)
            siglongjmp(out, 5);
    }
    return number;
}
static void jumps_round(void)
{
    static int ready;
    if (!ready++) {
        struct sigaction action = { .sa_handler = leap, .sa_flags = SA_ONSTACK };
        must(sigaction(SIGUSR1, &action, NULL));
    }
    in_threads(jumps, 2);
}

/* Calls with timeouts: they end with what they should, and not early. */
static void *sleeps_well(void *number)
{
    const long long wait = MILLISECOND;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    right(pthread_sigmask(SIG_BLOCK, &set, NULL));
    int poller = must(epoll_create1(0)), event = must(eventfd(0, 0)), clock = must(timerfd_create(CLOCK_MONOTONIC, 0));
    struct epoll_event watched = { .events = EPOLLIN };
    must(epoll_ctl(poller, EPOLL_CTL_ADD, event, &watched));
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
    sem_t never;
    must(sem_init(&never, 0, 0));
    for (int i = 0; i < 11; i++) {
        struct timespec time = { 0, wait }, left;
        struct timeval value = { 0, wait / 1000 };
        struct pollfd polled = { event, POLLIN, 0 };
        fd_set reading;
        FD_ZERO(&reading);
        FD_SET(event, &reading);
        long long start = now();
        struct timespec until;
        switch (i) {
        case 0: right(nanosleep(&time, &left)); break;
        case 1: right(clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL)); break;
        case 2: until = after(CLOCK_MONOTONIC, wait); right(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL)); break;
        case 3: { int got = poll(&polled, 1, 1); check(got == 0, "poll: %d, events %#x of %d, %s", got, polled.revents, event, strerror(errno)); break; }
        case 4: check_equal(ppoll(&polled, 1, &time, NULL), 0); break;
        case 5: check_equal(select(event + 1, &reading, NULL, NULL, &value), 0); break;
        case 6: check_equal(pselect(event + 1, &reading, NULL, NULL, &time, &set), 0); break;
        /* The kernel says EINTR also in a thread that is not the one that takes the signal. */
        case 7:
            check_equal(sigtimedwait(&set, NULL, &time), -1);
            check(errno == EAGAIN || errno == EINTR, "sigtimedwait: %s", strerror(errno));
            start -= errno == EINTR ? wait : 0;
            break;
        case 8:
            if (epoll_wait(poller, &watched, 1, 1) != 0) {
                check_equal(errno, EINTR);
                start -= wait;
            }
            break;
        case 9: until = after(CLOCK_REALTIME, wait); check_equal(sem_timedwait(&never, &until), -1); check_equal(errno, ETIMEDOUT); break;
        case 10:
            until = after(CLOCK_REALTIME, wait);
            right(pthread_mutex_lock(&lock));
            check_equal(pthread_cond_timedwait(&cond, &lock, &until), ETIMEDOUT);
            right(pthread_mutex_unlock(&lock));
        }
        long long took = now() - start;
        check(took >= wait, "call %d ended after %lld ns", i, took);
    }
    struct itimerspec every = { { 0, wait }, { 0, wait } };
    uint64_t times, one = 1;
    must(timerfd_settime(clock, 0, &every, NULL));
    check_equal(read(clock, &times, 8), 8);
    check(times >= 1, "no time");
    check_equal(write(event, &one, 8), 8);
    check_equal(epoll_wait(poller, &watched, 1, -1), 1);
    check_equal(read(event, &times, 8), 8);
    check_equal(times, 1);
    must(close(poller));
    must(close(event));
    must(close(clock));
    return number;
}
static void sleeps_round(void)
{
    in_threads(sleeps_well, 2);
}

/* Interval timers and sigsuspend(2). */
static volatile sig_atomic_t rings;
static void ring(int sig)
{
    (void)sig;
    rings++;
}
static void alarms_round(void)
{
    struct sigaction action = { .sa_handler = ring };
    must(sigaction(SIGALRM, &action, NULL));
    must(sigaction(SIGVTALRM, &action, NULL));
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    must(sigprocmask(SIG_BLOCK, &set, &old));
    struct itimerval once = { { 0, 0 }, { 0, 600 } };
    for (int i = 1; i <= 5; i++) {
        once.it_value.tv_usec /= 2;
        rings = 0;
        must(setitimer(ITIMER_REAL, &once, NULL));
        while (!rings) {
            check_equal(sigsuspend(&old), -1);
            check_equal(errno, EINTR);
        }
        check_equal(rings, 1);
    }
    rings = 0;
    must(setitimer(ITIMER_VIRTUAL, &once, NULL));
    while (!rings)
        ;
    check_equal(rings, 1);
    must(sigprocmask(SIG_SETMASK, &old, NULL));
}

/* A file without a name: musl's tmpfile(3) makes one that has a name at first, and a restart would want it under that. */
static FILE *scratch(void)
{
    FILE *file = fdopen(must(memfd_create("scratch", MFD_CLOEXEC)), "w+");
    check(file, "fdopen: %s", strerror(errno));
    return file;
}

/* Lines that threads write to one stream, some of them in pieces under its lock; and streams of each thread's own. */
static FILE *shared_stream;
static void *prints(void *number)
{
    for (int i = 0; i < 100; i++) {
        if (i % 2) {
            check(fprintf(shared_stream, "thread %d line %d\n", (int)(intptr_t)number, i) > 0, "fprintf");
        } else {
            flockfile(shared_stream);
            check(fprintf(shared_stream, "thread %d ", (int)(intptr_t)number) > 0, "fprintf");
            check(fputs("line ", shared_stream) >= 0, "fputs");
            check(fprintf(shared_stream, "%d\n", i) > 0, "fprintf");
            funlockfile(shared_stream);
        }
    }
    FILE *own = scratch();
    for (int i = 0; i < 1000; i++)
        check(fprintf(own, "%d\n", i) > 0, "fprintf");
    rewind(own);
    for (int i = 0, got; i < 1000; i++) {
        check_equal(fscanf(own, "%d\n", &got), 1);
        check_equal(got, i);
    }
    right(fclose(own));
    return number;
}
static void stdio_round(void)
{
    shared_stream = scratch();
    setvbuf(shared_stream, NULL, _IOFBF, 128);
    in_threads(prints, THREADS);
    rewind(shared_stream);
    int seen[THREADS] = { 0 }, thread, line;
    while (fscanf(shared_stream, "thread %d line %d\n", &thread, &line) == 2) {
        check(thread >= 0 && thread < THREADS, "thread %d", thread);
        check_equal(line, seen[thread]);
        seen[thread]++;
    }
    for (int i = 0; i < THREADS; i++)
        check_equal(seen[i], 100);
    right(fclose(shared_stream));
}

/* Heaps of many threads. */
static void *allocates(void *number)
{
    unsigned char *blocks[64] = { 0 };
    size_t sizes[64];
    uint64_t state = 88172645463325252ULL + (intptr_t)number;
    for (int i = 0; i < 2000; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        int which = state % 64;
        if (blocks[which])
            for (size_t k = 0; k < sizes[which]; k += 61)
                check_equal(blocks[which][k], (unsigned char)(which + k));
        sizes[which] = (state >> 8) % 5 ? (state >> 16) % 700 + 1 : (state >> 16) % 150000 + 1;
        free(blocks[which]);
        blocks[which] = malloc(sizes[which]);
        for (size_t k = 0; k < sizes[which]; k += 61)
            blocks[which][k] = which + k;
    }
    for (int i = 0; i < 64; i++)
        free(blocks[i]);
    return number;
}
static void heaps_round(void)
{
    in_threads(allocates, 8);
}

/* Data of each thread, with destructors. */
static pthread_key_t keys[4];
static volatile int destroyed;
static __thread uint64_t own_data[50] = { 1, 2, 3 };
static void destroy(void *value)
{
    __atomic_add_fetch(&destroyed, *(int *)value, __ATOMIC_SEQ_CST);
    free(value);
}
static void *has_data(void *number)
{
    check_equal(own_data[0] + own_data[1] + own_data[2], 6);
    for (int i = 0; i < 50; i++)
        own_data[i] = i * (intptr_t)number;
    for (int i = 0; i < 4; i++) {
        int *value = malloc(sizeof *value);
        *value = i;
        right(pthread_setspecific(keys[i], value));
    }
    for (int i = 0; i < 4; i++)
        check_equal(*(int *)pthread_getspecific(keys[i]), i);
    for (int i = 0; i < 50; i++)
        check_equal(own_data[i], i * (intptr_t)number);
    return number;
}
static void data_round(void)
{
    for (int i = 0; i < 4; i++)
        right(pthread_key_create(&keys[i], destroy));
    int before = destroyed;
    in_threads(has_data, 8);
    check_equal(destroyed, before + 8 * 6);
    for (int i = 0; i < 4; i++)
        right(pthread_key_delete(keys[i]));
}

/* Memory whose attributes change all the time, in threads. */
static void *changes(void *number)
{
    for (int i = 1; i < 40; i++) {
        size_t len = (i % 7 + 2) * PAGE;
        unsigned char *area = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        check(area != MAP_FAILED, "mmap: %s", strerror(errno));
        for (size_t k = 0; k < len; k += PAGE)
            area[k] = i + k / PAGE;
        must(mprotect(area + PAGE, PAGE, PROT_NONE));
        must(mlock(area, PAGE));
        unsigned char *moved = mremap(area, PAGE, 2 * PAGE, MREMAP_MAYMOVE);
        check(moved != MAP_FAILED, "mremap: %s", strerror(errno));
        check_equal(moved[0], i);
        must(mprotect(area + PAGE, PAGE, PROT_READ));
        check_equal(area[PAGE], i + 1);
        must(madvise(area + PAGE, PAGE, i % 2 ? MADV_DONTFORK : MADV_DODUMP));
        must(munmap(moved, 2 * PAGE));
        must(mprotect(area + PAGE, len - PAGE, PROT_READ | PROT_WRITE));
        must(madvise(area + PAGE, PAGE, MADV_DONTNEED));
        check_equal(area[PAGE], 0);
        must(munmap(area + PAGE, len - PAGE));
    }
    return number;
}
static void memory_round(void)
{
    in_threads(changes, 2);
}

/* Bytes that go round through pipes, from thread to thread. */
static int links[THREADS][2];
static void *passes_on(void *number)
{
    int mine = (int)(intptr_t)number;
    for (uint64_t i = 0; i < 100; i++) {
        uint64_t word;
        if (mine == 0) {
            check_equal(write(links[1][1], &i, 8), 8);
            check_equal(read(links[0][0], &word, 8), 8);
            check_equal(word, i + THREADS - 1);
        } else {
            check_equal(read(links[mine][0], &word, 8), 8);
            word++;
            check_equal(write(links[(mine + 1) % THREADS][1], &word, 8), 8);
        }
    }
    return number;
}
static void pipes_round(void)
{
    for (int i = 0; i < THREADS; i++)
        must(pipe(links[i]));
    in_threads(passes_on, THREADS);
    for (int i = 0; i < THREADS; i++) {
        must(close(links[i][0]));
        must(close(links[i][1]));
    }
}

/* What all threads of a process share, changed all the time by one of them each. */
static void one(int sig) { (void)sig; }
static void other(int sig) { (void)sig; }
static void *shares(void *number)
{
    mode_t mask = 022;
    if ((intptr_t)number == 3)
        umask(mask);
    for (int i = 0; i < 300; i++) {
        struct sigaction action = { .sa_handler = i % 2 ? one : other }, set;
        struct rlimit limit = { 1000 + i % 2, 2000 }, got;
        int file, is;
        switch ((intptr_t)number) {
        case 0:
            file = must(open("/dev/null", O_RDONLY | O_CLOEXEC));
            for (volatile int turns = 0; turns < 1000; turns++)
                ;
            check_equal(must(fcntl(file, F_GETFD)), FD_CLOEXEC);
            must(close(file));
            check(fcntl(file, F_GETFD) == -1, "a descriptor that was closed");
            break;
        case 1:
            must(sigaction(SIGUSR1, &action, NULL));
            must(sigaction(SIGUSR1, NULL, &set));
            check(set.sa_handler == action.sa_handler, "another handler");
            break;
        case 2:
            must(setrlimit(RLIMIT_CORE, &limit));
            must(getrlimit(RLIMIT_CORE, &got));
            check_equal(got.rlim_cur, limit.rlim_cur);
            break;
        case 3:
            check_equal(umask(mask ^ 055), mask);
            mask ^= 055;
            break;
        case 4:
            must(prctl(PR_SET_CHILD_SUBREAPER, i % 2, 0, 0, 0));
            must(prctl(PR_GET_CHILD_SUBREAPER, &is, 0, 0, 0));
            check_equal(is, i % 2);
        }
    }
    return number;
}
static void shares_round(void)
{
    in_threads(shares, 5);
}

#ifdef __GLIBC__
/* Libraries that come and go. */
static void *loads(void *number)
{
    static const char *const names[] = { "libm.so.6", "libresolv.so.2", "libthread_db.so.1", "libnsl.so.1" };
    for (int i = 0; i < 4; i++) {
        void *library = dlopen(names[i], i % 2 ? RTLD_NOW : RTLD_LAZY);
        int error = errno;
        check(library, "%s: %s", dlerror(), strerror(error));
        if (i == 0) {
            double (*root)(double) = (double (*)(double))dlsym(library, "sqrt");
            check(root && root(49) == 7, "sqrt");
        }
        right(dlclose(library));
    }
    return number;
}
static void loads_round(void)
{
    in_threads(loads, 2);
}

/* Input and output that threads of glibc do. */
static void aio_round(void)
{
    FILE *file = scratch();
    struct aiocb blocks[4];
    char texts[4][100];
    memset(blocks, 0, sizeof blocks);
    for (int step = 0; step < 2; step++) {
        for (int i = 0; i < 4; i++) {
            /* Zero is a signal, which glibc sends to the id that getpid(2) has told before: a limit, see docs/state.md. */
            blocks[i].aio_sigevent.sigev_notify = SIGEV_NONE;
            blocks[i].aio_fildes = fileno(file);
            blocks[i].aio_buf = texts[i];
            blocks[i].aio_nbytes = 100;
            blocks[i].aio_offset = 100 * i;
            memset(texts[i], step ? 0 : 'a' + i, 100);
            must(step ? aio_read(&blocks[i]) : aio_write(&blocks[i]));
        }
        for (int i = 0; i < 4; i++) {
            const struct aiocb *one[] = { &blocks[i] };
            while (aio_error(&blocks[i]) == EINPROGRESS)
                check(aio_suspend(one, 1, NULL) == 0 || errno == EINTR, "aio_suspend: %s", strerror(errno));
            check_equal(aio_error(&blocks[i]), 0);
            check_equal(aio_return(&blocks[i]), 100);
            for (int k = 0; k < 100; k++)
                check_equal(texts[i][k], 'a' + i);
        }
    }
    right(fclose(file));
}
#endif

int main(int argc, char **argv)
{
    static const struct mode modes[] = {
        { "timers", timers_round }, { "births", births_round }, { "cancels", cancels_round }, { "locks", locks_round },
        { "turns", turns_round }, { "robust", robust_round }, { "kills", kills_round }, { "attributes", attributes_round },
        { "ids", ids_round }, { "executes", executes_round }, { "jumps", jumps_round }, { "sleeps", sleeps_round },
        { "alarms", alarms_round }, { "stdio", stdio_round }, { "heaps", heaps_round }, { "data", data_round },
        { "memory", memory_round }, { "pipes", pipes_round }, { "shares", shares_round },
#ifdef __GLIBC__
        { "loads", loads_round }, { "aio", aio_round },
#endif
        { NULL, NULL },
    };
    must(sem_init(&called, 0, 0));
    must(sem_init(&gone, 0, 0));
    run(modes, argc, argv);
}
