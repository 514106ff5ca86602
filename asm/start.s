# Where the kernel enters myrestart (arch/x86/include/asm/elf.h, ELF_PLAT_INIT; psABI 3.4.1, "initial stack").
#
#   rsp ->  argc
#           argv[0] ... argv[argc-1], NULL
#           envp[0] ..., NULL
#           auxv pairs ..., AT_NULL
#
# Every other register is zero or of no meaning. `myrestart_main(rdi = that address)` does not return.

        .section .text.ckpt_start, "ax", @progbits
        .globl  _start
        .hidden _start
        .type   _start, @function
_start:
        .cfi_startproc
        .cfi_undefined rip              # the outermost frame: debuggers stop here
        xor     ebp, ebp                # so does a walk along frame pointers
        mov     rdi, rsp                # argument: the initial stack
        and     rsp, -16                # the ABI's alignment before a call; the kernel's is the same
        call    myrestart_main
        ud2                             # it exits or becomes another process
        .cfi_endproc
        .size   _start, . - _start

        .section .note.GNU-stack, "", @progbits
        .text
