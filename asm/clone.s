# A helper process that shares this one's memory, on a stack of its own.

        .bss
        .p2align 12
ckpt_helper_stack:
        .skip   {stack_size}
ckpt_helper_stack_top:

        .section .text.ckpt_clone, "ax", @progbits

# long ckpt_vfork(void (*run)(void *) /* rdi */, void *arg /* rsi */)
#
# clone(2) with CLONE_VM | CLONE_VFORK and no exit signal: the caller sleeps until the helper has ended. Returns the helper's pid,
# or a negative errno. The helper starts at the top of ckpt_helper_stack:
#
#       | arg                |
#       | run                |  <- rsp of the helper
#
        .globl  ckpt_vfork
        .hidden ckpt_vfork
        .type   ckpt_vfork, @function
        .p2align 4
ckpt_vfork:
        .cfi_startproc
        lea     rax, [rip + ckpt_helper_stack_top]
        mov     [rax - 8], rsi                  # what the helper is to do, on its own stack: the kernel hands it
        mov     [rax - 16], rdi                 #   no register but those of the caller
        lea     rsi, [rax - 16]                 # its stack
        mov     edi, {flags}                    # CLONE_VM | CLONE_VFORK, exit signal 0
        xor     edx, edx
        xor     r10d, r10d
        xor     r8d, r8d
        mov     eax, {sys_clone}
        syscall
        test    rax, rax
        jz      1f
        ret                                     # the caller, when the helper has ended
1:      .cfi_undefined rip
        xor     ebp, ebp                        # the helper: the end of the frame chain
        pop     rax                             # run
        pop     rdi                             # arg; rsp % 16 == 0
        call    rax
        ud2                                     # it ends by exit_group
        .cfi_endproc
        .size   ckpt_vfork, . - ckpt_vfork
