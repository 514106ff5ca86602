/* Every register that user code can hold a value in: general, flags, x87 with control word, SSE, AVX, AVX-512 with masks, MXCSR,
 * FS and GS base. The wait is one instruction loop that keeps known values in all of them, so a save always finds them loaded. */
/* build: gcc -O2 -mno-red-zone */
#include "victim.h"
#include <asm/prctl.h>
#include <cpuid.h>

/* The control page is mapped here: `cmp mem, imm` looks at it without a register. */
__attribute__((aligned(4096))) volatile uint64_t control[512];

struct state {
    uint64_t general[15]; /* rax rbx rcx rdx rsi rdi rbp r8-r15 */
    uint64_t flags;
    uint64_t mask[8];
    uint16_t x87_control;
    uint16_t pad[3];
    uint32_t mxcsr;
    uint32_t pad2;
    long double x87[8];
    uint8_t vector[32][64] __attribute__((aligned(64)));
};
struct state loaded, found;
int has_avx, has_avx512;

/* Loads `loaded` into the registers, waits for control[0], stores them to `found`. */
void hold(void);
__asm__(
    ".text\n"
    ".globl hold\n"
    "hold:\n"
    "  push %rbx\n  push %rbp\n  push %r12\n  push %r13\n  push %r14\n  push %r15\n"
    "  fninit\n"
    "  fldcw loaded+x87_control_at(%rip)\n"
    ".irp n,7,6,5,4,3,2,1,0\n"
    "  fldt loaded+x87_at+16*\\n(%rip)\n"
    ".endr\n"
    "  ldmxcsr loaded+mxcsr_at(%rip)\n"
    "  cmpl $0, has_avx512(%rip)\n"
    "  jne 2f\n"
    "  cmpl $0, has_avx(%rip)\n"
    "  jne 1f\n"
    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
    "  movdqu loaded+vector_at+64*\\n(%rip), %xmm\\n\n"
    ".endr\n"
    "  jmp 3f\n"
    "1:\n"
    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
    "  vmovdqu loaded+vector_at+64*\\n(%rip), %ymm\\n\n"
    ".endr\n"
    "  jmp 3f\n"
    "2:\n"
    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
    "  vmovdqu64 loaded+vector_at+64*\\n(%rip), %zmm\\n\n"
    ".endr\n"
    ".irp n,0,1,2,3,4,5,6,7\n"
    "  kmovq loaded+mask_at+8*\\n(%rip), %k\\n\n"
    ".endr\n"
    "3:\n"
    "  mov loaded+8(%rip), %rbx\n"
    "  mov loaded+16(%rip), %rcx\n"
    "  mov loaded+24(%rip), %rdx\n"
    "  mov loaded+32(%rip), %rsi\n"
    "  mov loaded+40(%rip), %rdi\n"
    "  mov loaded+48(%rip), %rbp\n"
    "  mov loaded+56(%rip), %r8\n"
    "  mov loaded+64(%rip), %r9\n"
    "  mov loaded+72(%rip), %r10\n"
    "  mov loaded+80(%rip), %r11\n"
    "  mov loaded+88(%rip), %r12\n"
    "  mov loaded+96(%rip), %r13\n"
    "  mov loaded+104(%rip), %r14\n"
    "  mov loaded+112(%rip), %r15\n"
    "  pushq loaded+flags_at(%rip)\n"
    "  popfq\n"
    "  mov loaded(%rip), %rax\n"
    /* jrcxz and loop touch no flags, but need rcx: instead look at the page between saves of the flags. */
    "4:\n"
    "  pushfq\n"
    "  cmpq $0, control(%rip)\n"
    "  je 5f\n"
    "  jmp 6f\n"
    "5:\n"
    "  popfq\n"
    ".rept 64\n  nop\n  lea (%rsp), %rsp\n.endr\n"
    "  jmp 4b\n"
    "6:\n"
    "  popq found+flags_at(%rip)\n"
    "  mov %rax, found(%rip)\n"
    "  cld\n"
    "  mov %rbx, found+8(%rip)\n"
    "  mov %rcx, found+16(%rip)\n"
    "  mov %rdx, found+24(%rip)\n"
    "  mov %rsi, found+32(%rip)\n"
    "  mov %rdi, found+40(%rip)\n"
    "  mov %rbp, found+48(%rip)\n"
    "  mov %r8, found+56(%rip)\n"
    "  mov %r9, found+64(%rip)\n"
    "  mov %r10, found+72(%rip)\n"
    "  mov %r11, found+80(%rip)\n"
    "  mov %r12, found+88(%rip)\n"
    "  mov %r13, found+96(%rip)\n"
    "  mov %r14, found+104(%rip)\n"
    "  mov %r15, found+112(%rip)\n"
    "  fnstcw found+x87_control_at(%rip)\n"
    ".irp n,0,1,2,3,4,5,6,7\n"
    "  fstpt found+x87_at+16*\\n(%rip)\n"
    ".endr\n"
    "  fninit\n"
    "  stmxcsr found+mxcsr_at(%rip)\n"
    "  cmpl $0, has_avx512(%rip)\n"
    "  jne 8f\n"
    "  cmpl $0, has_avx(%rip)\n"
    "  jne 7f\n"
    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
    "  movdqu %xmm\\n, found+vector_at+64*\\n(%rip)\n"
    ".endr\n"
    "  jmp 9f\n"
    "7:\n"
    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
    "  vmovdqu %ymm\\n, found+vector_at+64*\\n(%rip)\n"
    ".endr\n"
    "  vzeroupper\n"
    "  jmp 9f\n"
    "8:\n"
    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
    "  vmovdqu64 %zmm\\n, found+vector_at+64*\\n(%rip)\n"
    ".endr\n"
    ".irp n,0,1,2,3,4,5,6,7\n"
    "  kmovq %k\\n, found+mask_at+8*\\n(%rip)\n"
    ".endr\n"
    "  vzeroupper\n"
    "9:\n"
    "  ldmxcsr default_mxcsr(%rip)\n"
    "  pop %r15\n  pop %r14\n  pop %r13\n  pop %r12\n  pop %rbp\n  pop %rbx\n"
    "  ret\n"
    ".data\n"
    "default_mxcsr: .long 0x1f80\n"
    ".text\n"
);
/* Offsets for the code above, from the compiler. */
__attribute__((used)) static void offsets(void)
{
#define OFFSET(name, member) \
    __asm__(".set " #name ", %c0" : : "i"(__builtin_offsetof(struct state, member)))
    OFFSET(flags_at, flags);
    OFFSET(mask_at, mask);
    OFFSET(x87_control_at, x87_control);
    OFFSET(mxcsr_at, mxcsr);
    OFFSET(x87_at, x87);
    OFFSET(vector_at, vector);
}

static uint64_t mix(uint64_t n)
{
    n = (n ^ (n >> 30)) * 0xbf58476d1ce4e5b9u;
    n = (n ^ (n >> 27)) * 0x94d049bb133111ebu;
    return n ^ (n >> 31);
}

static __thread int thread_local_value = 77;

int main(void)
{
    unsigned a, b, c, d;
    __cpuid_count(7, 0, a, b, c, d);
    has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
    has_avx = __builtin_cpu_supports("avx");

    for (int i = 0; i < 15; i++)
        loaded.general[i] = mix(i + 1);
    for (int i = 0; i < 8; i++) {
        loaded.mask[i] = mix(100 + i);
        loaded.x87[i] = 1.0L / (i + 3);
    }
    for (int i = 0; i < 32; i++)
        for (int j = 0; j < 64; j += 8) {
            uint64_t value = mix(1000 + 64 * i + j);
            memcpy(&loaded.vector[i][j], &value, 8);
        }
    loaded.flags = 0x202 | 0x8d5 | 0x400; /* carry, parity, adjust, zero, sign, overflow, and the direction flag */
    loaded.x87_control = 0x0f7f;          /* round to zero, extended precision, every exception masked */
    loaded.mxcsr = 0x1f80 | 0x6000 | 0x8000 | 0x0021; /* round to zero, flush to zero, two sticky exceptions */
    static char gs_area[64];
    check_equal(syscall(SYS_arch_prctl, ARCH_SET_GS, gs_area), 0);
    unsigned long fs_before, fs_after, gs_after;
    check_equal(syscall(SYS_arch_prctl, ARCH_GET_FS, &fs_before), 0);
    thread_local_value = 78;

    map_control((void *)control);
    say_ready();
    hold();

    static const char *names[] = { "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8",
                                   "r9",  "r10", "r11", "r12", "r13", "r14", "r15" };
    for (int i = 0; i < 15; i++)
        check(found.general[i] == loaded.general[i], "%s is %#lx, not %#lx", names[i], found.general[i],
              loaded.general[i]);
    check_equal(found.flags & 0xcd5, loaded.flags & 0xcd5);
    check_equal(found.x87_control, loaded.x87_control);
    check_equal(found.mxcsr, loaded.mxcsr);
    for (int i = 0; i < 8; i++)
        check(!memcmp(&found.x87[i], &loaded.x87[i], 10), "st(%d) is %Lg, not %Lg", i, found.x87[i], loaded.x87[i]);
    int width = has_avx512 ? 64 : has_avx ? 32 : 16;
    for (int i = 0; i < (has_avx512 ? 32 : 16); i++)
        check(!memcmp(found.vector[i], loaded.vector[i], width), "vector register %d, %d bytes", i, width);
    for (int i = 0; has_avx512 && i < 8; i++)
        check(found.mask[i] == loaded.mask[i], "k%d is %#lx, not %#lx", i, found.mask[i], loaded.mask[i]);
    check_equal(syscall(SYS_arch_prctl, ARCH_GET_FS, &fs_after), 0);
    check_equal(syscall(SYS_arch_prctl, ARCH_GET_GS, &gs_after), 0);
    check_equal(fs_after, fs_before);
    check_equal(gs_after, (unsigned long)gs_area);
    check_equal(thread_local_value, 78);
    pass();
}
