//! What the CPU offers to the loops of this crate.
//!
//! CPUID traps to the hypervisor in a virtual machine (a microsecond or more), so that it is asked once. The answer lies in
//! writable memory and goes into an image with everything else: see [`forget`].

use core::arch::x86_64::{__cpuid_count, _xgetbv, CpuidResult};
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Has the CRC32 instruction (SSE4.2).
pub const CRC32: u8 = 1;
/// Has AVX2, and the kernel saves its registers.
pub const AVX2: u8 = 2;
/// The answer is there.
const KNOWN: u8 = 0x80;

static FEATURES: AtomicU8 = AtomicU8::new(0);

/// Whether the CPU has all of `wanted`, which is made of [`CRC32`] and [`AVX2`].
#[inline]
pub fn has(wanted: u8) -> bool {
    let mut features = FEATURES.load(Relaxed);
    if features & KNOWN == 0 {
        features = detect();
        FEATURES.store(features, Relaxed);
    }
    features & wanted == wanted
}

/// Asks the CPU again at the next use. For a process that may have come back on another machine.
pub fn forget() {
    FEATURES.store(0, Relaxed);
}

/// Intel SDM, volume 2, CPUID; volume 1, "Detection of Intel AVX2".
#[cold]
fn detect() -> u8 {
    const SSE42: u32 = 1 << 20; // leaf 1, ecx
    const OSXSAVE: u32 = 1 << 27; // leaf 1, ecx
    const AVX: u32 = 1 << 28; // leaf 1, ecx
    const LEAF7_AVX2: u32 = 1 << 5; // leaf 7, ebx
    const XCR0_SSE_AVX: u64 = 0b110;

    let mut features = KNOWN;
    if cfg!(miri) {
        // The interpreter has no CPUID: it has what it is told that there is.
        features |= if cfg!(target_feature = "sse4.2") { CRC32 } else { 0 };
        return features | if cfg!(target_feature = "avx2") { AVX2 } else { 0 };
    }
    let leaf1 = cpuid(1).ecx;
    if leaf1 & SSE42 != 0 {
        features |= CRC32;
    }
    if leaf1 & OSXSAVE != 0 && leaf1 & AVX != 0 && cpuid(0).eax >= 7 {
        // SAFETY: XGETBV exists where CPUID says OSXSAVE; XCR0 always exists.
        let xcr0 = unsafe { xcr0() };
        if xcr0 & XCR0_SSE_AVX == XCR0_SSE_AVX && cpuid(7).ebx & LEAF7_AVX2 != 0 {
            features |= AVX2;
        }
    }
    features
}

/// The first part of a leaf.
#[allow(unused_unsafe, reason = "newer compilers know that it is safe")]
fn cpuid(leaf: u32) -> CpuidResult {
    // SAFETY: every x86-64 has CPUID.
    unsafe { __cpuid_count(leaf, 0) }
}

#[target_feature(enable = "xsave")]
fn xcr0() -> u64 {
    // SAFETY: register 0 exists wherever the instruction does.
    unsafe { _xgetbv(0) }
}
