# Where signals enter libckpt, and where a restarted process comes back.
#
# The kernel has pushed the whole user state on the signal's stack and calls the entry like a C function that returns to
# the restorer. The capture below is all that is missing for coming back here in another process: the callee-saved
# registers and the stack pointer. It "returns twice", like setjmp(3): once to go on, and once, at ckpt_resume, after a restart.
#
# The stack that took the signal (high addresses up):
#
#       | struct rt_sigframe   |  ucontext, siginfo, register area: what rt_sigreturn reads
#       | address of restorer  |  <- rsp at an entry and at ckpt_resume; rsp % 16 == 8
#       |----------------------|
#       | Arrival              |  {arrival_size} bytes; <- rbx while libckpt runs
#       '----------------------'  nothing below: the stack may be a small alternate one
#
# One thread leads a save, on ckpt_stack; it holds ckpt_leader. While it gathers the others (ckpt_gathering), each that
# arrives, by whichever signal, parks on a slot of the leader's: a record at its start, a stack at its end.

        .bss
        .p2align 12
ckpt_stack:                                     # the leader's stack
        .skip   {stack_size}
ckpt_stack_top:

        .macro  word name                       # a 32-bit variable, shared with Rust
        .globl  \name
        .hidden \name
        .type   \name, @object
        .size   \name, 4
        .p2align 2
\name:
        .skip   4
        .endm

        word    ckpt_leader                     # 0 nobody leads, 1 somebody, 2 somebody and others sleep until it is done
        word    ckpt_gathering                  # 1: whoever arrives parks
        word    ckpt_slots                      # number of slots that there are
        word    ckpt_taken                      # number of slots taken, refused ones included
        word    ckpt_inside                     # threads that are on a slot's stack
        word    ckpt_entered                    # after a restart: threads that have entered ckpt_resume
        word    ckpt_released                   # after a restart: 1 when all may go on
        .globl  ckpt_slot_base
        .hidden ckpt_slot_base
        .type   ckpt_slot_base, @object
        .size   ckpt_slot_base, 8
        .p2align 3
ckpt_slot_base:                                 # address of slot 0
        .skip   8

# futex(2) on a word; changes rax, rdi, rsi, rdx, r10, rcx, r11
        .macro  futex name, operation, value
        lea     rdi, [rip + \name]
        mov     esi, \operation                 # 0 FUTEX_WAIT, 1 FUTEX_WAKE
        mov     edx, \value                     # what the word should be, or how many to wake
        xor     r10d, r10d                      # no timeout
        mov     eax, {sys_futex}
        syscall
        .endm

# The capture: makes the Arrival, rbx = rsp = its address.
        .macro  capture
        sub     rsp, {arrival_size}             # rsp % 16 == 0 now
        .cfi_adjust_cfa_offset {arrival_size}
        mov     [rsp + {rbx}], rbx              # the registers that a function must keep ...
        mov     [rsp + {rbp}], rbp
        mov     [rsp + {r12}], r12
        mov     [rsp + {r13}], r13
        mov     [rsp + {r14}], r14
        mov     [rsp + {r15}], r15
        lea     rax, [rsp + {arrival_size}]
        mov     [rsp + {rsp}], rax              # ... and the stack pointer that ckpt_resume expects
        mov     [rsp + {ucontext}], rdx         # the interrupted code's registers are behind this
        mov     [rsp + {info}], rsi             # who asked
        mov     rbx, rsp
        .cfi_def_cfa_register rbx
        .endm

        .section .text.ckpt_entry, "ax", @progbits

# void ckpt_entry(int signal /* edi */, siginfo_t *info /* rsi */, void *ucontext /* rdx */): handler of the checkpoint signal
        .globl  ckpt_entry
        .hidden ckpt_entry
        .type   ckpt_entry, @function
        .p2align 4
ckpt_entry:
        .cfi_startproc
        capture                                 # at this point rbx = the Arrival, until the end
1:      xor     eax, eax                        # 0: nobody leads
        mov     ecx, 1                          # 1: we do
        lock cmpxchg [rip + ckpt_leader], ecx
        jne     2f                              # somebody else does
        mov     dword ptr [rbx + {role}], {role_leader}
        lea     rsp, [rip + ckpt_stack_top]     # leave the signal's stack, which may be full
        mov     rdi, rbx
        call    {lead}                          # ckpt_lead(&mut Arrival)
        mov     rsp, rbx                        # back, before anybody else may use ckpt_stack
        jmp     3f

# Another thread leads. Say so first, then look whether it gathers: it looks the other way round, so that one of us sees the other.
2:      mov     eax, 1
        mov     ecx, 2
        lock cmpxchg [rip + ckpt_leader], ecx   # 1 -> 2; 2 stays; 0 means that it is done
        test    eax, eax
        jz      1b
        cmp     dword ptr [rip + ckpt_gathering], 0
        jne     5f
        futex   ckpt_leader, 0, 2               # sleep until it is done, or gathers
        jmp     1b
5:      call    ckpt_park_here                  # part of its save ...
        jmp     1b                              # ... and then one of our own: we were asked after that one began

# The leader is done: release the lock and wake the sleepers, if there are any.
3:      xor     eax, eax
        xchg    [rip + ckpt_leader], eax        # eax = 2 when somebody sleeps
        cmp     eax, 2
        jne     4f
        futex   ckpt_leader, 1, 0x7fffffff

# rbx = the Arrival: give the registers back and return to the restorer, which calls rt_sigreturn.
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

# void ckpt_stop(int signal, siginfo_t *info, void *ucontext): handler of the signal by which the leader stops the other threads
        .globl  ckpt_stop
        .hidden ckpt_stop
        .type   ckpt_stop, @function
        .p2align 4
ckpt_stop:
        .cfi_startproc
        capture
        cmp     dword ptr [rip + ckpt_gathering], 0
        je      4b                              # too late: that save was given up
        call    ckpt_park_here
        jmp     4b
        .cfi_endproc
        .size   ckpt_stop, . - ckpt_stop

# Parks the thread of rbx = the Arrival until the leader lets it go. On return rsp is as it was; all but rbx may have changed.
        .type   ckpt_park_here, @function
        .p2align 4
ckpt_park_here:
        .cfi_startproc
        mov     dword ptr [rbx + {role}], {role_parked}
        lock add dword ptr [rip + ckpt_inside], 1
        mov     eax, 1
        lock xadd [rip + ckpt_taken], eax       # eax = our slot
        cmp     eax, [rip + ckpt_slots]
        jae     1f                              # more threads than slots: the leader sees it and gives up
        shl     rax, {slot_shift}
        add     rax, [rip + ckpt_slot_base]     # rax = the slot
        mov     r12, rsp                        # the one word that is on the signal's stack
        lea     rsp, [rax + {slot_size}]        # a stack of our own
        mov     rdi, rbx
        mov     rsi, rax
        call    {park}                          # ckpt_park(&mut Arrival, &mut Slot)
        mov     rsp, r12
        jmp     2f
1:      cmp     dword ptr [rip + ckpt_gathering], 0
        je      2f
        futex   ckpt_gathering, 0, 1            # wait without a slot until it is over
        jmp     1b
2:      lock sub dword ptr [rip + ckpt_inside], 1
        jnz     6f                              # (6: ckpt_resume jumps back to the 3 of ckpt_entry)
        futex   ckpt_inside, 1, 1               # the last one: the leader may unmap the slots
6:      ret
        .cfi_endproc
        .size   ckpt_park_here, . - ckpt_park_here

# The restarter comes here, once for each thread: see "The resume contract" in ARCHITECTURE.md.
# rsp = what the capture stored; rdi = thread, rsi = hole, rdx = its length, rcx = threads, r8 = a stack, r9 and rax = address and number
# of Owners; all signals are blocked.
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
        mov     [rbx + {index}], edi            # which thread this is
        cmp     dword ptr [rbx + {role}], {role_leader}
        jne     1f
        lea     rsp, [rip + ckpt_stack_top]     # the leader's stack: what was saved of it does not matter
        mov     rdi, rbx
        xchg    rsi, rdx                        # ckpt_resumed(&mut Arrival, length, hole, threads, owners, their number)
        mov     r8, r9
        mov     r9, rax
        call    {resumed}
        jmp     3b                              # the lock was ours when the image was made
1:      mov     rsp, r8                         # the others: a stack in the hole, for the call only
        mov     rdi, rbx
        mov     rsi, r9
        mov     rdx, rax
        call    {thread_resumed}                # ckpt_thread_resumed(&mut Arrival, owners, their number)
        mov     rsp, rbx                        # from here nothing of the hole is used
        lock add dword ptr [rip + ckpt_entered], 1
        futex   ckpt_entered, 1, 1              # the leader counts
2:      cmp     dword ptr [rip + ckpt_released], 0
        jne     4b
        futex   ckpt_released, 0, 0
        jmp     2b
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
