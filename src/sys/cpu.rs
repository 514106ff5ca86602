//! What the CPU can do.

use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

/// Gives this thread access to all memory protection keys (pkeys(7)), if the kernel uses them. The kernel lets signal handlers
/// see key 0 only, and rt_sigreturn brings the program's rights back.
pub fn open_protection_keys() {
    const OSPKE: u32 = 1 << 4;
    if __cpuid(0).eax >= 7 && __cpuid_count(7, 0).ecx & OSPKE != 0 {
        // SAFETY: OSPKE says that the instruction is enabled; it takes zeros in ecx and edx. It changes which memory may be accessed, so the compiler
        // must not move an access over it: no `nomem`.
        unsafe {
            core::arch::asm!("wrpkru", in("eax") 0, in("ecx") 0, in("edx") 0, options(nostack, preserves_flags));
        };
    }
}

/// Where a register set lies in the XSAVE area in its standard form, and its size, in bytes (CPUID leaf 0xd). `number` is
/// its bit in XCR0, 2 or more; the CPU must have it.
pub fn xsave_place(number: u32) -> (usize, usize) {
    let place = __cpuid_count(0xd, number);
    (place.ebx as usize, place.eax as usize)
}

/// Extended register state (Intel SDM, volume 1, chapter 13).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Xstate {
    /// XCR0: the register sets that the kernel enabled; zero without XSAVE.
    pub enabled: u64,
    /// Bytes of the XSAVE area in a signal frame, without the registers that need a permission (AMX).
    pub size: u32,
}

/// What the CPU and the kernel offer.
pub fn xstate() -> Xstate {
    const OSXSAVE: u32 = 1 << 27; // leaf 1, ecx
    /// Register sets that a process must ask for (arch_prctl(2), ARCH_REQ_XCOMP_PERM): AMX tile data.
    const ON_DEMAND: u64 = 1 << 18;
    /// Legacy area and XSAVE header.
    const FIXED: u32 = 512 + 64;
    if __cpuid(1).ecx & OSXSAVE == 0 {
        return Xstate::default();
    }
    // SAFETY: XGETBV exists where CPUID says OSXSAVE; XCR0 always exists.
    let enabled = unsafe { xcr0() };
    if enabled & ON_DEMAND == 0 {
        return Xstate { enabled, size: __cpuid_count(0xd, 0).ebx };
    }
    // Leaf 0xd, subleaf i: size and offset of register set i.
    let sets = (2..63).filter(|set| enabled & !ON_DEMAND & 1 << set != 0);
    let ends = sets.map(|set| __cpuid_count(0xd, set)).map(|leaf| leaf.eax + leaf.ebx);
    Xstate { enabled, size: ends.max().unwrap_or(FIXED) }
}

#[target_feature(enable = "xsave")]
fn xcr0() -> u64 {
    // SAFETY: register 0 exists wherever the instruction does.
    unsafe { _xgetbv(0) }
}
