# Where signals enter libckpt, and where a restarted process comes back.
#
# The kernel has pushed the whole user state on the signal's stack and calls the entry like a C function that returns to
# the restorer. The capture below is all that is missing for coming back here in another process: the callee-saved
# registers and the stack pointer. It "returns twice", like setjmp(3): once to go on, and once, at ckpt_resume, after a restart.
#
# The stack that took the signal (high addresses up):
#
#       | register area        |  x87, SSE, AVX ...
#       |----------------------|
#       | rest of the siginfo  |  48 bytes are the signal's; what libckpt keeps with a thread is behind them
#       | siginfo              |
#       | ucontext             |  the interrupted code's registers; the capture is in the words that the kernel reserves
#       | address of restorer  |  <- rsp at an entry and at ckpt_resume, and rbx while libckpt runs: the Arrival
#       '----------------------'  nothing below: an alternate stack may have room for the frame and not for one byte more
#
# One thread leads a save, on ckpt_stack; it holds ckpt_leader. While it gathers the others (ckpt_gathering), each that
# arrives, by whichever signal, parks on a slot of the leader's: a stack with a record above it.

        .bss
        .p2align 12
        .globl  ckpt_stack
        .hidden ckpt_stack
        .type   ckpt_stack, @object
        .size   ckpt_stack, {stack_size}
ckpt_stack:                                     # the leader's stack
        .skip   {stack_size}
ckpt_stack_top:
        .skip   {called_stack}                  # the stack on which ckpt_called stops its thread
ckpt_called_top:

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
        word    ckpt_entered                    # after a restart: threads that are in ckpt_resume
        word    ckpt_released                   # after a restart: 1 when all may go on
        word    ckpt_joining                    # threads that a tracer put here: 1 their leader is on its way, 2 it gathers, 3 it is over
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

# The capture: makes the frame an Arrival, rbx = rsp = its address.
        .macro  capture
        mov     [rsp + {rbx}], rbx              # the registers that a function must keep ...
        mov     [rsp + {rbp}], rbp
        mov     [rsp + {r12}], r12
        mov     [rsp + {r13}], r13
        mov     [rsp + {r14}], r14
        mov     [rsp + {r15}], r15
        mov     [rsp + {rsp}], rsp              # ... and the stack pointer that ckpt_resume expects
        mov     rbx, rsp
        .cfi_def_cfa_register rbx
        .endm

# For unwinders: a register of the code that was interrupted is in the Arrival of rbx.
# DW_CFA_expression(number, breg3 + offset), with the offset as a SLEB128 of two bytes.
        .macro  in_arrival number, offset
        .cfi_escape 0x10, \number, 3, 0x73, (\offset) & 0x7f | 0x80, (\offset) >> 7
        .endm

        .section .text.ckpt_entry, "ax", @progbits

# void ckpt_entry(int signal /* edi */, siginfo_t *info /* rsi */, void *ucontext /* rdx */): handler of the checkpoint signal
        .globl  ckpt_entry
        .hidden ckpt_entry
        .type   ckpt_entry, @function
        .p2align 4
ckpt_entry:
        .cfi_startproc
        lea     rax, [rip + ckpt_restorer]      # the kernel passes the frame that it has made
        cmp     [rsp], rax
        jne     ckpt_called
        lea     rax, [rsp + {user}]
        cmp     rdx, rax
        jne     ckpt_called
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
5:      lea     rbp, [rip + 1b]                 # part of its save, and then one of our own: we were asked after that one began
        jmp     ckpt_park_here

# The leader is done: release the lock and wake the sleepers, if there are any. One that ckpt_called has stopped is still on its stack.
3:      cmp     dword ptr [rbx + {called}], 0
        jne     4f
        xor     eax, eax
        xchg    [rip + ckpt_leader], eax        # eax = 2 when somebody sleeps
        cmp     eax, 2
        jne     4f
        futex   ckpt_leader, 1, 0x7fffffff

# rbx = the Arrival: give the registers back and return to the restorer, which calls rt_sigreturn.
.Lckpt_leave:
4:      mov     rsp, rbx
        cmp     dword ptr [rbx + {leave}], {leave_again}
        je      1b                              # asked again meanwhile
        cmp     dword ptr [rbx + {leave}], {leave_waiting}
        je      ckpt_wait_on
        mov     rbp, [rsp + {rbp}]
        mov     r12, [rsp + {r12}]
        mov     r13, [rsp + {r13}]
        mov     r14, [rsp + {r14}]
        mov     r15, [rsp + {r15}]
        mov     rbx, [rsp + {rbx}]
        .cfi_def_cfa rsp, 8
        ret
        .cfi_endproc
        .size   ckpt_entry, . - ckpt_entry

# Goes on with a call that the kernel can continue by itself: restart_syscall(2), at the program's own syscall instruction. rt_sigreturn(2)
# would make the kernel forget what there is to continue, so this does by hand what that does. rbx = rsp = the Arrival.
#
# Signals may arrive as soon as they are not blocked any more. When it is the checkpoint signal, src/preload/blocking.rs finds the registers where they
# are at the three stages that the labels mark. A handler of the program that runs here ends the call, as it should; libcs cancel a thread by one, which
# unwinds the stack from here: to unwinders this is a signal frame.
        .type   ckpt_wait_on, @function
        .p2align 4
ckpt_wait_on:
        .cfi_startproc simple
        .cfi_signal_frame
        # DW_CFA_def_cfa_expression(breg3, deref): the caller's rsp is in the Arrival as well
        .cfi_escape 0x0f, 4, 0x73, ({gregs} + 8 * 15) & 0x7f | 0x80, ({gregs} + 8 * 15) >> 7, 0x06
        in_arrival 3, {gregs} + 8 * 11          # rbx
        in_arrival 6, {gregs} + 8 * 10          # rbp
        in_arrival 12, {gregs} + 8 * 4
        in_arrival 13, {gregs} + 8 * 5
        in_arrival 14, {gregs} + 8 * 6
        in_arrival 15, {gregs} + 8 * 7
        in_arrival 16, {gregs} + 8 * 16         # rip
        mov     rsi, [rbx + {fpstate}]
        mov     eax, [rbx + {xfeatures}]        # the register sets in the area
        mov     edx, [rbx + {xfeatures} + 4]
        mov     ecx, eax
        or      ecx, edx
        jz      1f                              # none: the area is an old one
        xrstor64 [rsi]
        jmp     2f
1:      fxrstor64 [rsi]
2:      lea     rsp, [rbx + {eflags}]
        popfq                                   # no instruction below changes a flag
        mov     rsp, rbx                        # new frames go below this one
        mov     edi, 2                          # rt_sigprocmask(SIG_SETMASK, the interrupted code's mask, NULL, 8)
        lea     rsi, [rbx + {sigmask}]
        mov     edx, 0
        mov     r10d, 8
        mov     eax, {sys_rt_sigprocmask}
        syscall
        .globl  ckpt_wait_loading
        .hidden ckpt_wait_loading
ckpt_wait_loading:                              # from here: all registers are in the Arrival of rbx
        mov     r8, [rbx + {gregs} + 8 * 0]
        mov     r9, [rbx + {gregs} + 8 * 1]
        mov     r10, [rbx + {gregs} + 8 * 2]
        mov     r11, [rbx + {gregs} + 8 * 3]
        mov     r12, [rbx + {gregs} + 8 * 4]
        mov     r13, [rbx + {gregs} + 8 * 5]
        mov     r14, [rbx + {gregs} + 8 * 6]
        mov     r15, [rbx + {gregs} + 8 * 7]
        mov     rdi, [rbx + {gregs} + 8 * 8]
        mov     rsi, [rbx + {gregs} + 8 * 9]
        mov     rbp, [rbx + {gregs} + 8 * 10]
        mov     rdx, [rbx + {gregs} + 8 * 12]
        mov     rcx, [rbx + {gregs} + 8 * 16]   # rip, which the syscall instruction will put into rcx again
        lea     rcx, [rcx - 2]                  # the instruction itself
        mov     rax, [rbx + {gregs} + 8 * 15]   # rsp
        mov     rbx, [rbx + {gregs} + 8 * 11]
        .globl  ckpt_wait_loaded
        .hidden ckpt_wait_loaded
ckpt_wait_loaded:                               # from here: all are loaded, but rsp is in rax
        mov     dword ptr [rsp + {leave}], 0    # the Arrival is not needed any more: a tracer may use its memory again
        .cfi_escape 0x0f, 2, 0x70, 0            # DW_CFA_def_cfa_expression(breg0)
        .cfi_escape 0x16, 16, 2, 0x72, 2        # rip is behind the instruction at rcx: DW_CFA_val_expression(16, breg2 + 2)
        .cfi_same_value rbx
        .cfi_same_value rbp
        .cfi_same_value r12
        .cfi_same_value r13
        .cfi_same_value r14
        .cfi_same_value r15
        mov     rsp, rax
        .globl  ckpt_wait_leaving
        .hidden ckpt_wait_leaving
ckpt_wait_leaving:                              # from here: all are loaded
        .cfi_def_cfa rsp, 0
        mov     eax, {sys_restart_syscall}
        jmp     rcx
        .globl  ckpt_wait_left
        .hidden ckpt_wait_left
ckpt_wait_left:
        ud2
        .cfi_endproc
        .size   ckpt_wait_on, . - ckpt_wait_on

# Makes a blocking call once more, with what is left of its timeout. rsp = a Wait, which src/preload/blocking.rs has put on the stack of the
# interrupted code; the other registers are those of the call. Goes on behind the program's own syscall instruction.
        .globl  ckpt_wait
        .hidden ckpt_wait
        .type   ckpt_wait, @function
        .p2align 4
ckpt_wait:
        .cfi_startproc simple
        .cfi_signal_frame
        .cfi_escape 0x0f, 3, 0x77, {wait_rsp}, 0x06 # the caller's rsp is at [rsp + wait_rsp]: DW_CFA_def_cfa_expression(breg7, deref)
        .cfi_escape 0x10, 16, 2, 0x77, {wait_rip} # rip is at [rsp + wait_rip]: DW_CFA_expression(16, breg7)
        syscall
        .globl  ckpt_waited
        .hidden ckpt_waited
ckpt_waited:
        mov     rdi, [rsp + {wait_rdi}]         # the arguments as the program passed them: the kernel changes none
        mov     rdx, [rsp + {wait_rdx}]
        mov     r10, [rsp + {wait_r10}]
        mov     rcx, [rsp + {wait_rip}]
        mov     rsp, [rsp + {wait_rsp}]
        jmp     rcx                             # nothing here has changed a flag
        .cfi_endproc
        .size   ckpt_wait, . - ckpt_wait

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
        lea     rbp, [rip + 4b]
        jmp     ckpt_park_here
        .cfi_endproc
        .size   ckpt_stop, . - ckpt_stop

# A tracer has put the thread here (src/inject): rsp = an Arrival that it has made from the thread's registers, rbx = ckpt_entry or ckpt_join.
# From here the thread needs nobody: the way out of either is that of a handler.
        .globl  ckpt_enter
        .hidden ckpt_enter
        .type   ckpt_enter, @function
        .p2align 4
ckpt_enter:
        mov     edi, 2                          # rt_sigprocmask(SIG_SETMASK, all, NULL, 8): the tracer may have ended before it could
        lea     rsi, [rip + ckpt_all_signals]
        mov     edx, 0
        mov     r10d, 8
        mov     eax, {sys_rt_sigprocmask}
        syscall
        mov     edi, 0                          # sigaltstack(NULL, into the frame): no tracer can ask for it
        lea     rsi, [rsp + {altstack}]
        mov     eax, {sys_sigaltstack}
        syscall
        lea     rdx, [rsp + {user}]             # as the kernel passes it
        jmp     rbx
        .size   ckpt_enter, . - ckpt_enter
        .p2align 3
ckpt_all_signals:
        .quad   -1

# One of the threads that a tracer has stopped, other than the leader. Its leader comes for certain: it was put here first.
        .globl  ckpt_join
        .hidden ckpt_join
        .type   ckpt_join, @function
        .p2align 4
ckpt_join:
        .cfi_startproc
        capture
1:      cmp     dword ptr [rip + ckpt_joining], 1
        jne     2f
        futex   ckpt_joining, 0, 1              # sleep until it gathers, or has given up
        jmp     1b
2:      cmp     dword ptr [rip + ckpt_gathering], 0
        je      .Lckpt_leave                    # it has given up
        lea     rbp, [rip + .Lckpt_leave]
        jmp     ckpt_park_here
        .cfi_endproc
        .size   ckpt_join, . - ckpt_join

# Parks the thread of rbx = the Arrival until the leader lets it go, then goes to the address in rbp. Not a subroutine: a return address
# would be a word below the frame. All but rbx and rsp may have changed then.
        .type   ckpt_park_here, @function
        .p2align 4
ckpt_park_here:
        .cfi_startproc
        .cfi_def_cfa rbx, 8
        mov     dword ptr [rbx + {role}], {role_parked}
        lock add dword ptr [rip + ckpt_inside], 1
        cmp     dword ptr [rip + ckpt_gathering], 0
        je      2f                              # over meanwhile: there are no slots any more
        mov     eax, 1
        lock xadd [rip + ckpt_taken], eax       # eax = our slot
        cmp     eax, [rip + ckpt_slots]
        jae     1f                              # more threads than slots: the leader sees it and gives up
        shl     rax, {slot_shift}
        add     rax, [rip + ckpt_slot_base]     # rax = the slot
        lea     rsp, [rax + {slot_record}]      # the record at its end, and a stack of our own below
        mov     rdi, rbx
        mov     rsi, rsp
        call    {park}                          # ckpt_park(&mut Arrival, &mut Slot)
        mov     rsp, rbx
        jmp     2f
1:      cmp     dword ptr [rip + ckpt_gathering], 0
        je      2f
        futex   ckpt_gathering, 0, 1            # wait without a slot until it is over
        jmp     1b
2:      lock sub dword ptr [rip + ckpt_inside], 1
        jnz     6f                              # (6: ckpt_resume jumps back to the 3 of ckpt_entry)
        futex   ckpt_inside, 1, 1               # the last one: the leader may unmap the slots
6:      jmp     rbp
        .cfi_endproc
        .size   ckpt_park_here, . - ckpt_park_here

# The restarter comes here, once for each thread: see "The resume contract" in ARCHITECTURE.md.
# rsp = what the capture stored; rdi = thread, rsi = hole, rdx = its length, rcx = threads, r8 = a stack; all signals are
# blocked.
        .globl  ckpt_resume
        .hidden ckpt_resume
        .type   ckpt_resume, @function
        .p2align 4
ckpt_resume:
        .cfi_startproc
        mov     rbx, rsp                        # at this point rbx = the Arrival again
        .cfi_def_cfa_register rbx
        mov     [rbx + {index}], edi            # which thread this is
        cmp     dword ptr [rbx + {role}], {role_leader}
        jne     1f
        lea     rsp, [rip + ckpt_stack_top]     # the leader's stack: what was saved of it does not matter
        mov     rdi, rbx
        xchg    rsi, rdx                        # ckpt_resumed(&mut Arrival, length, hole, threads)
        call    {resumed}
        jmp     3b                              # the lock was ours when the image was made
1:      mov     rsp, r8                         # the others: a stack in the hole, for the call only
        mov     rdi, rbx
        call    {thread_resumed}                # ckpt_thread_resumed(&mut Arrival)
        mov     rsp, rbx                        # from here nothing of the hole is used
        lock add dword ptr [rip + ckpt_entered], 1
        futex   ckpt_entered, 1, 1              # the leader counts
2:      cmp     dword ptr [rip + ckpt_released], 0
        jne     5f
        futex   ckpt_released, 0, 0
        jmp     2b
5:      lock sub dword ptr [rip + ckpt_entered], 1
        jnz     4b
        futex   ckpt_entered, 1, 1              # the last one: the leader may take the release back
        jmp     4b
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

# A handler of the program has called ckpt_entry, perhaps with a jump, perhaps with another context or none: only the first argument is certain, and there is
# no frame of the kernel at rsp. This stops the thread by a signal of its own, on a stack of ours, and that one has a frame. The lock is held meanwhile.
# Signals wait, but for the one by which a leader stops others.
        .type   ckpt_called, @function
        .p2align 4
ckpt_called:
        .cfi_startproc
        push    rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbx, 0
        push    r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r12, 0
        sub     rsp, 16
        .cfi_adjust_cfa_offset 16
        mov     rbx, rsp
        .cfi_def_cfa_register rbx
        mov     r12, rsi                        # a siginfo, if it is one
        mov     rax, ~(1 << 32)                 # all but signal 33
        mov     [rbx], rax
        mov     edi, 2                          # rt_sigprocmask(SIG_SETMASK, [rbx], [rbx + 8], 8)
        mov     rsi, rbx
        lea     rdx, [rbx + 8]
        mov     r10d, 8
        mov     eax, {sys_rt_sigprocmask}
        syscall
1:      xor     eax, eax                        # 0 -> 1: we lead
        mov     ecx, 1
        lock cmpxchg [rip + ckpt_leader], ecx
        je      2f
        mov     eax, 1                          # 1 -> 2: wake us when it is done
        mov     ecx, 2
        lock cmpxchg [rip + ckpt_leader], ecx
        test    eax, eax
        jz      1b
        futex   ckpt_leader, 0, 2               # its signal 33 arrives here
        jmp     1b
2:      lea     rsp, [rip + ckpt_called_top]
        mov     rdi, r12
        call    {stop_itself}                   # ckpt_stop_itself(siginfo)
        mov     rsp, rbx                        # back, before anybody else may use that stack
        xor     eax, eax
        xchg    [rip + ckpt_leader], eax
        cmp     eax, 2
        jne     3f
        futex   ckpt_leader, 1, 0x7fffffff
3:      mov     edi, 2                          # rt_sigprocmask(SIG_SETMASK, [rbx + 8], NULL, 8)
        lea     rsi, [rbx + 8]
        xor     edx, edx
        mov     r10d, 8
        mov     eax, {sys_rt_sigprocmask}
        syscall
        .cfi_def_cfa_register rsp
        add     rsp, 16
        .cfi_adjust_cfa_offset -16
        pop     r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore r12
        pop     rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore rbx
        ret
        .cfi_endproc
        .size   ckpt_called, . - ckpt_called

# void ckpt_itself(int signal, siginfo_t *info, void *ucontext): handler of the signal by which ckpt_called stops its thread, which holds the lock
        .globl  ckpt_itself
        .hidden ckpt_itself
        .type   ckpt_itself, @function
        .p2align 4
ckpt_itself:
        .cfi_startproc
        capture
        and     rsp, -16
        mov     rdi, rbx
        call    {is_itself}                     # ckpt_is_itself(&mut Arrival)
        mov     rsp, rbx
        test    eax, eax
        jz      .Lckpt_leave                    # somebody else's, which has been sent again
        mov     dword ptr [rbx + {role}], {role_leader}
        mov     dword ptr [rbx + {called}], 1
        lea     rsp, [rip + ckpt_stack_top]
        mov     rdi, rbx
        call    {lead}
        mov     rsp, rbx
        jmp     .Lckpt_leave
        .cfi_endproc
        .size   ckpt_itself, . - ckpt_itself

# OwnMemory ckpt_own_memory(void): first byte (rax) and end (rdx) of this library, by symbols of the linker
        .hidden __ehdr_start
        .hidden _end
        .globl  ckpt_own_memory
        .hidden ckpt_own_memory
        .type   ckpt_own_memory, @function
        .p2align 4
ckpt_own_memory:
        .cfi_startproc
        lea     rax, [rip + __ehdr_start]
        lea     rdx, [rip + _end]
        ret
        .cfi_endproc
        .size   ckpt_own_memory, . - ckpt_own_memory
