# Starts a thread that works for its process until it has nothing more to do.
#
# rax = ckpt_worker_spawn(rdi = flags of clone(2), rsi = top of the new stack, 16-byte aligned, rdx = address of the word for the
# thread's id, rcx = argument, r8 = function): the id of the thread, or an error as a negative number. The new thread calls
# function(rdi = argument) and ends; the kernel then clears the word (CLONE_CHILD_CLEARTID) and wakes its futex.
#
#   new stack:   rsi ->  (nothing; the call pushes below)

        .section .text.ckpt_worker, "ax", @progbits
        .globl  ckpt_worker_spawn
        .hidden ckpt_worker_spawn
        .type   ckpt_worker_spawn, @function
ckpt_worker_spawn:
        .cfi_startproc
        mov     r9, rcx                 # keep the argument: rcx is lost in the system call
        mov     r10, rdx                # where the id is cleared at the end,
                                        # and rdx is where it is written at the start
        mov     eax, {NR_CLONE}
        syscall                         # clone(flags, stack, parent_tid, child_tid); r8 would be the TLS with CLONE_SETTLS
        test    rax, rax
        jz      2f
        ret                             # the caller: id or error
2:      .cfi_undefined rip              # the new thread: the outermost frame
        xor     ebp, ebp
        mov     rdi, r9                 # argument
        call    r8
        xor     edi, edi                # exit status
        mov     eax, {NR_EXIT}
        syscall                         # this thread only
        ud2                             # not reached
        .cfi_endproc
        .size   ckpt_worker_spawn, . - ckpt_worker_spawn

        .section .note.GNU-stack, "", @progbits
        .text
