# The memory functions that rustc's output calls, and the unwinder's hook that nothing calls.
#
# Included once in each final artifact (libckpt.so, myrestart), never in a test or a shared crate. Every symbol is
# `.hidden`: a preloaded library that exported `memcpy` would replace the program's own.
#
# Contract, the one of C (System V ABI): rdi, rsi, rdx are the arguments, rax the result; changed besides are rcx, rdi, rsi,
# rdx, r8-r10, xmm0 and xmm1. No stack is used, no TLS, no memory but the arguments'.
# The direction flag is clear on entry and on return.
#
# Blocks of up to 32 bytes are moved by loads that may overlap, all made before the first store, so that memcpy and memmove
# are one routine. Longer ones use `rep movsb`, which the CPU turns into moves of whole cache lines (ERMS).

        .section .text.ckpt_mem, "ax", @progbits

# rax = rdi = dst, after moving rdx = n bytes from rsi = src; the blocks may overlap.
        .globl  memcpy
        .hidden memcpy
        .type   memcpy, @function
        .globl  memmove
        .hidden memmove
        .type   memmove, @function
        .p2align 4
memcpy:
memmove:
        .cfi_startproc
        mov     rax, rdi                        # the result is dst, whatever happens
        cmp     rdx, 16
        ja      4f                              # more than 16
        cmp     edx, 8
        jae     3f                              # 8 to 16
        cmp     edx, 4
        jae     2f                              # 4 to 7
        test    edx, edx
        jz      1f                              # none
        mov     r10d, edx                       # 1 to 3:
        shr     r10d, 1                         # n / 2 is the middle byte of three, the last of two, the only one of one
        movzx   ecx, byte ptr [rsi]             # first
        movzx   r9d, byte ptr [rsi + r10]       # middle
        movzx   r8d, byte ptr [rsi + rdx - 1]   # last
        mov     byte ptr [rdi], cl
        mov     byte ptr [rdi + r10], r9b
        mov     byte ptr [rdi + rdx - 1], r8b
1:      ret
2:      mov     ecx, dword ptr [rsi]            # first four
        mov     r8d, dword ptr [rsi + rdx - 4]  # last four
        mov     dword ptr [rdi], ecx
        mov     dword ptr [rdi + rdx - 4], r8d
        ret
3:      mov     rcx, qword ptr [rsi]            # first eight
        mov     r8, qword ptr [rsi + rdx - 8]   # last eight
        mov     qword ptr [rdi], rcx
        mov     qword ptr [rdi + rdx - 8], r8
        ret
4:      cmp     rdx, 32
        ja      5f
        movdqu  xmm0, xmmword ptr [rsi]         # first sixteen
        movdqu  xmm1, xmmword ptr [rsi + rdx - 16] # last sixteen
        movdqu  xmmword ptr [rdi], xmm0
        movdqu  xmmword ptr [rdi + rdx - 16], xmm1
        ret
5:      mov     r8, rdi
        sub     r8, rsi                         # dst - src as an unsigned number is below n
        mov     rcx, rdx
        cmp     r8, rdx                         # exactly when dst begins inside src:
        jb      6f                              # then moving forward would overwrite what is still to be read
        rep movsb
        ret
6:      lea     rsi, [rsi + rdx - 1]            # last byte of src
        lea     rdi, [rdi + rdx - 1]            # last byte of dst
        std                                     # backward
        rep movsb
        cld                                     # the ABI wants it clear
        ret
        .cfi_endproc
        .size   memcpy, . - memcpy
        .size   memmove, . - memmove

# rax = rdi = dst, after setting rdx = n bytes to the low byte of esi.
        .globl  memset
        .hidden memset
        .type   memset, @function
        .p2align 4
memset:
        .cfi_startproc
        mov     r9, rdi                         # the result
        movzx   eax, sil
        cmp     rdx, 32
        ja      3f                              # more than 32
        mov     rcx, 0x0101010101010101         # one in each byte
        imul    rax, rcx                        # the byte eight times
        cmp     edx, 8
        jae     2f                              # 8 to 32
        cmp     edx, 4
        jae     1f                              # 4 to 7
        test    edx, edx
        jz      4f                              # none
        mov     byte ptr [rdi], al              # 1 to 3: first,
        mov     byte ptr [rdi + rdx - 1], al    # last,
        shr     edx, 1
        mov     byte ptr [rdi + rdx], al        # and middle, as above
        jmp     4f
1:      mov     dword ptr [rdi], eax            # first four
        mov     dword ptr [rdi + rdx - 4], eax  # last four
        jmp     4f
2:      movq    xmm0, rax                       # first eight,
        mov     qword ptr [rdi], rax
        mov     qword ptr [rdi + rdx - 8], rax  # last eight,
        cmp     edx, 16
        jbe     4f                              # which is all up to 16
        punpcklqdq xmm0, xmm0                   # the byte sixteen times
        movdqu  xmmword ptr [rdi], xmm0         # first sixteen
        movdqu  xmmword ptr [rdi + rdx - 16], xmm0 # last sixteen
        jmp     4f
3:      mov     rcx, rdx
        rep stosb
4:      mov     rax, r9
        ret
        .cfi_endproc
        .size   memset, . - memset

# eax < 0, = 0, > 0 as the rdx = n bytes at rdi are below, equal to, above those at rsi, as unsigned numbers.
        .globl  memcmp
        .hidden memcmp
        .type   memcmp, @function
        .globl  bcmp
        .hidden bcmp
        .type   bcmp, @function
        .p2align 4
memcmp:
bcmp:
        .cfi_startproc
        xor     ecx, ecx                        # bytes known to be equal
1:      mov     r8, rdx
        sub     r8, rcx                         # bytes left
        cmp     r8, 16
        jb      3f
        movdqu  xmm0, xmmword ptr [rdi + rcx]
        movdqu  xmm1, xmmword ptr [rsi + rcx]
        pcmpeqb xmm0, xmm1
        pmovmskb eax, xmm0                      # a bit for each equal byte
        xor     eax, 0xffff                     # a bit for each different one
        jnz     2f
        add     rcx, 16
        jmp     1b
2:      bsf     eax, eax                        # the first different one
        add     rcx, rax
        jmp     4f
3:      cmp     rcx, rdx                        # the rest byte by byte
        je      5f
        movzx   eax, byte ptr [rdi + rcx]
        cmp     al, byte ptr [rsi + rcx]
        jne     4f
        inc     rcx
        jmp     3b
4:      movzx   eax, byte ptr [rdi + rcx]       # the difference of the first different bytes
        movzx   edx, byte ptr [rsi + rcx]
        sub     eax, edx
        ret
5:      xor     eax, eax                        # equal
        ret
        .cfi_endproc
        .size   memcmp, . - memcmp
        .size   bcmp, . - bcmp

# rax = number of bytes before the first NUL at rdi.
        .globl  strlen
        .hidden strlen
        .type   strlen, @function
        .p2align 4
strlen:
        .cfi_startproc
        xor     eax, eax
1:      cmp     byte ptr [rdi + rax], 0
        je      2f
        inc     rax
        jmp     1b
2:      ret
        .cfi_endproc
        .size   strlen, . - strlen

# libcore is built for unwinding and names this; nothing unwinds here.
        .globl  rust_eh_personality
        .hidden rust_eh_personality
        .type   rust_eh_personality, @function
rust_eh_personality:
        .cfi_startproc
        ud2                                     # never called
        .cfi_endproc
        .size   rust_eh_personality, . - rust_eh_personality

        .section .note.GNU-stack, "", @progbits # no executable stack
        .text
