/* The same with musl. build: musl-gcc -O2 -pthread */
#include "churn.c"
