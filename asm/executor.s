# The executor: carries out the late ops of the plan, then becomes the thread.
#
# Position-independent; copied into the hole, because the ops unmap everything else of the restarter. It uses no stack at all, so that
# it does not matter where rsp points, and no memory but its Record, the Ops, and the lines for failures, all of them in the hole.
#
# Entry: rdi = address of a Record of restart/execute.rs. Does not return.
#
# Registers while it runs:
#   r12   the Record of this thread
#   r13   the present Op
#   rax   number, then result of the system call
#   rdi rsi rdx r10 r8 r9   arguments
#   rcx r11                 lost in the system call
#
# Exit: jumps to Record::resume_ip with the registers of ARCHITECTURE.md, "The resume contract".
#
# Offsets come from Rust: OP_* and RECORD_*, CONTEXT_*, LINE_*.

        .section .text.ckpt_executor, "ax", @progbits
        .globl  ckpt_executor
        .hidden ckpt_executor
        .type   ckpt_executor, @function
        .p2align 6
ckpt_executor:
        .cfi_startproc
        .cfi_undefined rip                      # there is nothing to return to
        mov     r12, rdi                        # the record
        mov     rax, [r12 + {RECORD_OUTSIDE}]
        test    rax, rax
        jz      10f                             # the main thread: nobody waits for it
        lock dec dword ptr [rax]                # one thread less in the code of the restarter
10:     mov     r13, [r12 + {RECORD_OPS}]       # the first op
2:      cmp     r13, [r12 + {RECORD_END}]
        je      6f                              # all done: become the thread
        cmp     byte ptr [r13 + {OP_CHECK}], {CHECK_LAST}
        jne     20f
        mov     rax, [r12 + {RECORD_BEFORE_LAST}]
        lock dec dword ptr [rax]                # one less of those that have not come here
        jnz     3f                              # it is for another one to do
20:     movzx   eax, word ptr [r13 + {OP_NR}]
        mov     rdi, [r13 + {OP_ARGS}]
        mov     rsi, [r13 + {OP_ARGS} + 8]
        mov     rdx, [r13 + {OP_ARGS} + 16]
        mov     r10, [r13 + {OP_ARGS} + 24]
        mov     r8, [r13 + {OP_ARGS} + 32]
        mov     r9, [r13 + {OP_ARGS} + 40]
        syscall
        movzx   ecx, byte ptr [r13 + {OP_CHECK}]
        cmp     ecx, {CHECK_ANY}
        je      3f                              # no matter what it returned
        cmp     ecx, {CHECK_LAST}
        je      3f                              # the same
        cmp     ecx, {CHECK_UNTIL}
        je      8f
        cmp     ecx, {CHECK_EXACT}
        jne     4f
        cmp     rax, [r13 + {OP_EXPECT}]
        jne     5f                              # not what was planned
3:      add     r13, {OP_SIZE}                  # the next op
        jmp     2b

4:      cmp     rax, -4095                      # -4095 to -1, as unsigned numbers the highest, are errors
        jae     5f
        jmp     3b                              # success is enough

# A wait: over when the word at its first argument is another than its third, whatever woke the thread.
8:      mov     rax, [r13 + {OP_ARGS}]
        mov     eax, dword ptr [rax]
        cmp     eax, dword ptr [r13 + {OP_ARGS} + 16]
        je      20b
        jmp     3b

# An op failed. Its line ends in four digits for the number of the error, and a newline.
# At this point rax is the result, r13 the op.
5:      neg     rax                             # the number of the error;
        cmp     rax, 4095                       # a result that is none
        mov     ecx, 0
        cmova   rax, rcx                        # counts as 0
        mov     esi, dword ptr [r13 + {OP_LINE}] # number of the line
        imul    rsi, rsi, {LINE_SIZE}
        add     rsi, [r12 + {RECORD_LINES}]     # the line
        movzx   edi, word ptr [rsi + {LINE_LEN}] # its length
        lea     rsi, [rsi + {LINE_TEXT}]        # its text
        lea     r8, [rsi + rdi - 2]             # the last digit
        mov     r9d, 4                          # four digits
7:      xor     edx, edx
        mov     ecx, 10
        div     ecx                             # eax = the rest of the number, edx = its last digit
        add     edx, '0'
        mov     byte ptr [r8], dl
        dec     r8
        dec     r9d
        jnz     7b
        mov     rdx, rdi                        # length
        mov     edi, dword ptr [r12 + {RECORD_STDERR}] # the restarter's: open until no thread can fail any more
        mov     eax, {NR_WRITE}
        syscall                                 # nobody to tell if this fails
        mov     edi, {EXIT_CODE}
        mov     eax, {NR_EXIT_GROUP}
        syscall                                 # a half-restored process never runs
        ud2                                     # not reached

# Become the thread: the resume contract. r12 is loaded last, since it is the record.
6:      mov     rdi, [r12 + {RECORD_INDEX}]
        mov     rsi, [r12 + {RECORD_HOLE_START}]
        mov     rdx, [r12 + {RECORD_HOLE_LEN}]
        mov     rcx, [r12 + {RECORD_THREADS}]
        mov     r8, [r12 + {RECORD_STACK_TOP}]
        mov     r11, [r12 + {RECORD_RESUME_IP}]
        mov     rsp, [r12 + {RECORD_CONTEXT} + {CONTEXT_RSP}]
        mov     rbx, [r12 + {RECORD_CONTEXT} + {CONTEXT_RBX}]
        mov     rbp, [r12 + {RECORD_CONTEXT} + {CONTEXT_RBP}]
        mov     r13, [r12 + {RECORD_CONTEXT} + {CONTEXT_R13}]
        mov     r14, [r12 + {RECORD_CONTEXT} + {CONTEXT_R14}]
        mov     r15, [r12 + {RECORD_CONTEXT} + {CONTEXT_R15}]
        mov     r12, [r12 + {RECORD_CONTEXT} + {CONTEXT_R12}]
        cld
        jmp     r11                             # into libckpt
        ud2                                     # not reached
        .cfi_endproc
        .size   ckpt_executor, . - ckpt_executor
        .globl  ckpt_executor_end
        .hidden ckpt_executor_end
ckpt_executor_end:

        .section .note.GNU-stack, "", @progbits
        .text
