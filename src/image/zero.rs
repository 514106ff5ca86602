//! Pages of zeros take no space in an image, so that every page is asked.

use crate::cpu;

/// Whether all bytes are zero. Looks at one cache line after the other and stops at the first that is not: a page of anything
/// else mostly costs one line.
#[inline]
pub fn is_zero(bytes: &[u8]) -> bool {
    let (lines, rest) = bytes.as_chunks::<64>();
    if let Some((first, lines)) = lines.split_first() {
        // Most pages end here, before anybody asks what the CPU can do.
        if !line_is_zero(first) {
            return false;
        }
        let lines_are_zero = if cpu::has(cpu::AVX2) {
            // SAFETY: the CPU has AVX2 and the kernel saves its registers.
            unsafe { avx2(lines) }
        } else {
            lines.iter().all(line_is_zero)
        };
        if !lines_are_zero {
            return false;
        }
    }
    rest.iter().all(|byte| *byte == 0)
}

/// One cache line with SSE2, which every x86-64 has.
#[inline]
fn line_is_zero(line: &[u8; 64]) -> bool {
    let (words, _) = line.as_chunks::<8>();
    words.iter().fold(0, |all, word| all | u64::from_le_bytes(*word)) == 0
}

#[target_feature(enable = "avx2")]
fn avx2(lines: &[[u8; 64]]) -> bool {
    use core::arch::x86_64::{__m256i, _mm256_loadu_si256, _mm256_or_si256, _mm256_testz_si256};
    lines.iter().all(|line| {
        let (halves, _) = line.as_chunks::<32>();
        // SAFETY: each half has the 32 bytes that are loaded, and the load takes any alignment.
        let [low, high] = [0, 1].map(|i| unsafe { _mm256_loadu_si256(halves[i].as_ptr().cast::<__m256i>()) });
        let all = _mm256_or_si256(low, high);
        _mm256_testz_si256(all, all) == 1
    })
}

/// Begins to fetch the cache line at an address that will be read soon.
#[inline]
pub fn prefetch(address: *const u8) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch of any address, also of one where nothing is mapped, does nothing that the program could see.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_anywhere_is_seen() {
        let mut page = [0u8; 4096 + 200];
        for (start, len) in [(0, 4096), (1, 4096), (7, 4001), (31, 64), (3, 63), (0, 0), (5, 1), (64, 127)] {
            assert!(is_zero(&page[start..start + len]));
            for at in (0..len).step_by(if cfg!(miri) { 97 } else { 1 }) {
                page[start + at] = 1 << (at % 8);
                assert!(!is_zero(&page[start..start + len]), "byte {at} of {len} from {start}");
                page[start + at] = 0;
            }
        }
    }

    #[test]
    fn bytes_beyond_the_slice_do_not_count() {
        let page = [0xff; 300];
        let mut inside = page;
        inside[10..210].fill(0);
        assert!(is_zero(&inside[10..210]));
    }
}
