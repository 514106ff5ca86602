/* Shared anonymous memory is still shared with a child that is forked later; two mappings of one object stay one. */
#include "pattern.h"
#include <sys/wait.h>

int main(void)
{
    char *memory = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check(memory != MAP_FAILED, "mmap");
    fill(memory + 5 * PAGE);
    fill(memory + 63 * PAGE);
    char *alias = mremap(memory + 4 * PAGE, 0, 4 * PAGE, MREMAP_MAYMOVE);
    check(alias != MAP_FAILED, "mremap: %s", strerror(errno));
    char *read_only = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    fill(read_only);
    must(mprotect(read_only, PAGE, PROT_READ));

    checkpoint_here();
    verify(memory + 5 * PAGE);
    verify(memory + 63 * PAGE);
    verify_zero(memory);
    verify(read_only);
    check(!memcmp(alias + PAGE, memory + 5 * PAGE, PAGE), "alias");
    alias[PAGE] = 'a';
    check_equal(memory[5 * PAGE], 'a');
    pid_t child = must(fork());
    if (child == 0) {
        memory[0] = 'c';
        _exit(0);
    }
    int status;
    must(waitpid(child, &status, 0));
    check_equal(status, 0);
    check_equal(memory[0], 'c');
    check(strstr(maps_line_at(memory), "rw-s"), "%s", maps_line_at(memory));
    pass();
}
