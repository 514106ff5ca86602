/* Memory that may not be read. */
#ifndef FAULT_H
#define FAULT_H
#include "victim.h"
#include <setjmp.h>
#include <signal.h>

static sigjmp_buf fault_back;
static void on_fault(int signal)
{
    siglongjmp(fault_back, signal);
}

/* The signal that a read of this byte raises, SIGSEGV or SIGBUS; 0 when it can be read. */
static int fault_at(const volatile char *at)
{
    struct sigaction ours = { .sa_handler = on_fault }, segv, bus;
    sigaction(SIGSEGV, &ours, &segv);
    sigaction(SIGBUS, &ours, &bus);
    int raised = sigsetjmp(fault_back, 1);
    if (!raised)
        (void)*at;
    sigaction(SIGSEGV, &segv, NULL);
    sigaction(SIGBUS, &bus, NULL);
    return raised;
}
#endif
