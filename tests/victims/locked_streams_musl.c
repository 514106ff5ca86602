/* The same with musl. build: musl-gcc -O2 -pthread */
#include "locked_streams.c"
