# Where the checkpoint signal enters libckpt, and where a restarted process comes back.
#
# The kernel has pushed the whole user state on the signal's stack and calls ckpt_entry like a C function that returns to
# the restorer. The capture below is all that is missing for coming back here in another process: the callee-saved
# registers and the stack pointer. It "returns twice", like setjmp(3): once to go on, and once, at ckpt_resume, after a restart.
#
# The stack that took the signal (high addresses up):
#
#       | struct rt_sigframe   |  ucontext, siginfo, register area: what rt_sigreturn reads
#       | address of restorer  |  <- rsp at ckpt_entry and at ckpt_resume; rsp % 16 == 8
#       |----------------------|
#       | Arrival              |  {arrival_size} bytes; <- rbx while libckpt runs
#       '----------------------'  nothing below: the stack may be a small alternate one
#
# Everything else happens on ckpt_stack. One thread at a time leads a save; ckpt_leader says whether there is one:
# 0 nobody, 1 somebody, 2 somebody and others sleep until it is done.

        .bss
        .p2align 12
ckpt_stack:                                     # the leader's stack
        .skip   {stack_size}
ckpt_stack_top:
        .type   ckpt_leader, @object
        .size   ckpt_leader, 4
ckpt_leader:
        .skip   4

        .section .text.ckpt_entry, "ax", @progbits

# void ckpt_entry(int signal /* edi */, siginfo_t *info /* rsi */, void *ucontext /* rdx */): the signal handler
        .globl  ckpt_entry
        .hidden ckpt_entry
        .type   ckpt_entry, @function
        .p2align 4
ckpt_entry:
        .cfi_startproc
        sub     rsp, {arrival_size}             # room for the Arrival; rsp % 16 == 0 now
        .cfi_adjust_cfa_offset {arrival_size}
        mov     [rsp + {rbx}], rbx              # capture: the registers that a function must keep ...
        mov     [rsp + {rbp}], rbp
        mov     [rsp + {r12}], r12
        mov     [rsp + {r13}], r13
        mov     [rsp + {r14}], r14
        mov     [rsp + {r15}], r15
        lea     rax, [rsp + {arrival_size}]
        mov     [rsp + {rsp}], rax              # ... and the stack pointer that ckpt_resume expects
        mov     [rsp + {ucontext}], rdx         # the interrupted code's registers are behind this
        mov     [rsp + {info}], rsi             # who asked
        mov     rbx, rsp                        # at this point rbx = the Arrival, until the end
        .cfi_def_cfa_register rbx
1:      xor     eax, eax                        # 0: nobody leads
        mov     ecx, 1                          # 1: we do
        lock cmpxchg [rip + ckpt_leader], ecx
        jne     2f                              # somebody else does
        lea     rsp, [rip + ckpt_stack_top]     # leave the signal's stack, which may be full
        mov     rdi, rbx
        call    {lead}                          # ckpt_lead(&mut Arrival)
        mov     rsp, rbx                        # back, before anybody else may use ckpt_stack
        jmp     3f

# Another thread leads: wait until it is done, then save again, because this thread was asked after that save began.
2:      mov     ecx, 2                          # tell the leader that somebody sleeps
        mov     eax, 1
        lock cmpxchg [rip + ckpt_leader], ecx   # 1 -> 2; 2 stays; 0 means that it is done
        test    eax, eax
        jz      1b
        lea     rdi, [rip + ckpt_leader]        # futex(&ckpt_leader, FUTEX_WAIT, 2, NULL)
        xor     esi, esi
        mov     edx, 2
        xor     r10d, r10d
        mov     eax, {sys_futex}
        syscall
        jmp     1b

# The leader is done: release the lock and wake a sleeper, if there is one.
3:      xor     eax, eax
        xchg    [rip + ckpt_leader], eax        # eax = 2 when somebody sleeps
        cmp     eax, 2
        jne     4f
        lea     rdi, [rip + ckpt_leader]        # futex(&ckpt_leader, FUTEX_WAKE, all)
        mov     esi, 1
        mov     edx, 0x7fffffff
        mov     eax, {sys_futex}
        syscall

# rbx = rsp = the Arrival: give the registers back and return to the restorer, which calls rt_sigreturn.
4:      mov     rsp, rbx
        mov     rbp, [rsp + {rbp}]
        mov     r12, [rsp + {r12}]
        mov     r13, [rsp + {r13}]
        mov     r14, [rsp + {r14}]
        mov     r15, [rsp + {r15}]
        mov     rbx, [rsp + {rbx}]
        add     rsp, {arrival_size}
        .cfi_def_cfa rsp, 8
        ret
        .cfi_endproc
        .size   ckpt_entry, . - ckpt_entry

# The restarter comes here, once for each thread: see "The resume contract" in ARCHITECTURE.md.
# rsp = what the capture stored; rdi = thread, rsi = hole, rdx = its length, rcx = threads, r8 = a stack; all signals are blocked.
        .globl  ckpt_resume
        .hidden ckpt_resume
        .type   ckpt_resume, @function
        .p2align 4
ckpt_resume:
        .cfi_startproc
        sub     rsp, {arrival_size}             # the Arrival is where the capture left it
        .cfi_adjust_cfa_offset {arrival_size}
        mov     rbx, rsp                        # at this point rbx = the Arrival again
        .cfi_def_cfa_register rbx
        lea     rsp, [rip + ckpt_stack_top]     # the leader's stack is not part of what was saved of it
        mov     r8, rcx
        mov     rcx, rdx
        mov     rdx, rsi
        mov     esi, edi
        mov     rdi, rbx
        call    {resume}                        # ckpt_resumed(&mut Arrival, thread, hole, length, threads)
        jmp     3b                              # the lock was ours when the image was made
        ud2
        .cfi_endproc
        .size   ckpt_resume, . - ckpt_resume

# The way out of a handler: rt_sigreturn(2), whose frame starts at rsp. gdb knows the two instructions and unwinds through them.
        .globl  ckpt_restorer
        .hidden ckpt_restorer
        .type   ckpt_restorer, @function
        .p2align 4
ckpt_restorer:
        mov     rax, {sys_rt_sigreturn}
        syscall
        ud2
        .size   ckpt_restorer, . - ckpt_restorer
