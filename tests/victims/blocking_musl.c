/* The same with musl, which makes calls in other ways. build: musl-gcc -O2 -D_GNU_SOURCE -idirafter /usr/include -idirafter /usr/include/x86_64-linux-gnu */
#include "blocking.c"
