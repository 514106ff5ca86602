/* The same with musl, which keeps the ids of threads and of the owners of locks elsewhere. build: musl-gcc -O2 */
#include "threads.c"
