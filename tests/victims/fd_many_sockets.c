/* More sockets with unread messages than there are numbers below the first limit, as far as the hard one allows; each keeps its peer and its message. */
#include "victim.h"
#include <sys/resource.h>
#include <sys/socket.h>

enum { MOST = 700 };

int main(void)
{
    struct rlimit limit;
    must(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = limit.rlim_max;
    must(setrlimit(RLIMIT_NOFILE, &limit));
    static int pairs[MOST][2];
    int n = 0;
    while (n < MOST && 2 * n + 50 < (int)limit.rlim_max) {
        must(socketpair(AF_UNIX, n % 3 == 0 ? SOCK_DGRAM : n % 3 == 1 ? SOCK_SEQPACKET : SOCK_STREAM, 0, pairs[n]));
        must(send(pairs[n][n % 2], &n, sizeof n, 0));
        n++;
    }
    checkpoint_here();
    for (int i = 0; i < n; i++) {
        int got = -1;
        check_equal(must(recv(pairs[i][!(i % 2)], &got, sizeof got, MSG_DONTWAIT)), sizeof got);
        check_equal(got, i);
    }
    pass();
}
