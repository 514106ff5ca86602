//! What the CPU can do.

use core::arch::x86_64::{__cpuid, __cpuid_count};

/// Gives this thread access to all memory protection keys (pkeys(7)), if the kernel uses them. The kernel lets signal handlers
/// see key 0 only, and rt_sigreturn brings the program's rights back.
pub fn open_protection_keys() {
    const OSPKE: u32 = 1 << 4;
    if __cpuid(0).eax >= 7 && __cpuid_count(7, 0).ecx & OSPKE != 0 {
        // SAFETY: OSPKE says that the instruction is enabled; it takes zeros in ecx and edx and changes no memory.
        unsafe { core::arch::asm!("wrpkru", in("eax") 0, in("ecx") 0, in("edx") 0, options(nostack, nomem)) };
    }
}

/// Where a register set lies in the XSAVE area in its standard form, and its size, in bytes (CPUID leaf 0xd). `number` is
/// its bit in XCR0, 2 or more; the CPU must have it.
pub fn xsave_place(number: u32) -> (usize, usize) {
    let place = __cpuid_count(0xd, number);
    (place.ebx as usize, place.eax as usize)
}
