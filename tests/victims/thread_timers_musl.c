/* The same with musl, which starts a thread for each such timer. build: musl-gcc -O2 */
#include "thread_timers.c"
