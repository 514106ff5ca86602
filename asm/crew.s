# Threads that are there before there is anything for them to do, because their ids are wanted.
#
# None of them uses a stack: rsp is what it was in the thread that made it, and is never looked at.

        .section .text.ckpt_crew, "ax", @progbits

# long ckpt_crew_start(long nr /* rdi */, long first /* rsi */, long second /* rdx */, Gate *gate /* rcx */, long index /* r8 */)
#
# Makes clone(2) or clone3(2), whichever `nr` is, with two arguments: the id of the new thread, or an error as a negative number. The new thread waits
# at the gate, and then enters the executor with its record.
#
# Registers of the thread:
#   rbx   its index
#   r12   the gate
#
        .globl  ckpt_crew_start
        .hidden ckpt_crew_start
        .type   ckpt_crew_start, @function
        .p2align 4
ckpt_crew_start:
        .cfi_startproc
        push    rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbx, 0
        push    r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r12, 0
        mov     rbx, r8                         # what the thread is to know, in registers that the system call keeps
        mov     r12, rcx
        mov     rax, rdi
        mov     rdi, rsi
        mov     rsi, rdx
        xor     edx, edx                        # of clone(2): nowhere to write the id,
        xor     r10d, r10d                      #   nothing to clear at its end,
        xor     r8d, r8d                        #   and no thread pointer
        syscall
        test    rax, rax
        jz      1f
        pop     r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore r12
        pop     rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore rbx
        ret                                     # the caller: id or error
        .cfi_undefined rip                      # the new thread: the outermost frame
1:      mov     eax, dword ptr [r12 + {GATE_STATE}]
        cmp     eax, {CLOSED}
        jne     2f
        lea     rdi, [r12 + {GATE_STATE}]
        mov     esi, {FUTEX_WAIT}
        mov     edx, {CLOSED}
        xor     r10d, r10d                      # for as long as it takes
        mov     eax, {NR_FUTEX}
        syscall
        jmp     1b                              # whatever woke it
2:      cmp     eax, {OPEN}
        jne     3f
        imul    rdi, rbx, {RECORD_SIZE}
        add     rdi, [r12 + {GATE_RECORDS}]     # its record
        jmp     [r12 + {GATE_EXECUTOR}]
3:      xor     edi, edi                        # nobody needs it
        mov     eax, {NR_EXIT}
        syscall                                 # this thread only
        ud2                                     # not reached
        .cfi_endproc
        .size   ckpt_crew_start, . - ckpt_crew_start

# long ckpt_id_skip(long flags /* rdi */)
#
# Makes clone(2) of a thread that ends at once: its id, or an error as a negative number. With CLONE_VFORK in `flags` it no longer uses any memory
# when the call returns.
#
        .globl  ckpt_id_skip
        .hidden ckpt_id_skip
        .type   ckpt_id_skip, @function
        .p2align 4
ckpt_id_skip:
        .cfi_startproc
        xor     esi, esi                        # no stack of its own
        xor     edx, edx
        xor     r10d, r10d
        xor     r8d, r8d
        mov     eax, {NR_CLONE}
        syscall
        test    rax, rax
        jz      3b                              # the new thread
        ret
        .cfi_endproc
        .size   ckpt_id_skip, . - ckpt_id_skip

        .section .note.GNU-stack, "", @progbits
        .text
