# Addresses of symbols that the program's libc may have. Weak: without them (another libc, another version) the slot is zero.

        .weak   __environ
        .weak   getauxval
        .weak   __rseq_offset
        .weak   __rseq_size

        .section .data.rel.ro, "aw", @progbits
        .p2align 3
        .globl  ckpt_environ
        .hidden ckpt_environ
        .type   ckpt_environ, @object
        .size   ckpt_environ, 8
ckpt_environ:
        .quad   __environ                       # char ***: glibc and musl
        .globl  ckpt_getauxval
        .hidden ckpt_getauxval
        .type   ckpt_getauxval, @object
        .size   ckpt_getauxval, 8
ckpt_getauxval:
        .quad   getauxval                       # unsigned long (*)(unsigned long): glibc 2.16, musl 1.1.0
        .globl  ckpt_rseq_offset
        .hidden ckpt_rseq_offset
        .type   ckpt_rseq_offset, @object
        .size   ckpt_rseq_offset, 8
ckpt_rseq_offset:
        .quad   __rseq_offset                   # const ptrdiff_t *: glibc 2.35, from the thread pointer
        .globl  ckpt_rseq_size
        .hidden ckpt_rseq_size
        .type   ckpt_rseq_size, @object
        .size   ckpt_rseq_size, 8
ckpt_rseq_size:
        .quad   __rseq_size                     # const unsigned int *: zero when registration was refused
