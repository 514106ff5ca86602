//! CRC-32C (Castagnoli), as in iSCSI (RFC 3720, appendix B.4), ext4 and btrfs.

use crate::cpu;
use crate::zero::prefetch;

/// The polynomial 0x1EDC6F41 with its bits in the order in which they are processed.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// Bytes per lane. Three lanes hide the latency of the CRC32 instruction (3 cycles, one issued per cycle), and three
/// lanes of this length are a page less 16 bytes: sums of whole pages spend next to nothing outside of the lanes.
const LANE: usize = 1360;

/// Bytes that the three lanes take together.
const BLOCK: usize = 3 * LANE;

/// CRC-32C of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c_append(0, bytes)
}

/// CRC-32C of some bytes whose CRC-32C is `crc`, followed by `bytes`.
#[inline]
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    if cpu::has(cpu::CRC32) {
        // SAFETY: the CPU has SSE4.2.
        !unsafe { hardware(!crc, bytes) }
    } else {
        !tables(!crc, bytes)
    }
}

/// Runs the register `state` over `bytes` with the CRC32 instruction.
#[target_feature(enable = "sse4.2")]
fn hardware(state: u32, bytes: &[u8]) -> u32 {
    use core::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u64};
    const WORDS: usize = LANE / 8;

    let mut state = u64::from(state);
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        let (mut a, mut b, mut c) = (state, 0, 0);
        for i in 0..WORDS {
            // The lanes hide from the CPU's own prefetcher that memory is read in order: told so, line after line, it sums what is not in
            // the cache at three times the speed.
            if i % 8 == 0 {
                for line in 0..3 {
                    prefetch(block.as_ptr().wrapping_add(BLOCK + 3 * 8 * i + 64 * line));
                }
            }
            a = _mm_crc32_u64(a, u64::from_le_bytes(words[i]));
            b = _mm_crc32_u64(b, u64::from_le_bytes(words[i + WORDS]));
            c = _mm_crc32_u64(c, u64::from_le_bytes(words[i + 2 * WORDS]));
        }
        // A CRC is linear: the register after a and b is that of a, moved over as many zeros as b is long, plus that of b.
        let ab = over_lane(a as u32) ^ b as u32;
        state = u64::from(over_lane(ab) ^ c as u32);
    }
    let (words, rest) = rest.as_chunks::<8>();
    for word in words {
        state = _mm_crc32_u64(state, u64::from_le_bytes(*word));
    }
    rest.iter().fold(state as u32, |state, byte| _mm_crc32_u8(state, *byte))
}

/// Runs the register `state` over `bytes` eight bytes at a time with [`STEP`].
fn tables(state: u32, bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut state = state;
    for word in words {
        let x = u64::from_le_bytes(*word) ^ u64::from(state);
        state = 0;
        for (byte, table) in x.to_le_bytes().iter().zip(STEP.iter().rev()) {
            state ^= table[*byte as usize];
        }
    }
    rest.iter().fold(state, |state, byte| (state >> 8) ^ STEP[0][(state as u8 ^ byte) as usize])
}

/// The register after [`LANE`] bytes of zero.
#[inline]
fn over_lane(state: u32) -> u32 {
    let [a, b, c, d] = state.to_le_bytes();
    OVER_LANE[0][a as usize] ^ OVER_LANE[1][b as usize] ^ OVER_LANE[2][c as usize] ^ OVER_LANE[3][d as usize]
}

/// `STEP[n][byte]` is what `byte` contributes to the register when it is followed by `n` bytes of zero.
static STEP: [[u32; 256]; 8] = {
    let mut table = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut state = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            state = (state >> 1) ^ if state & 1 != 0 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        table[0][byte] = state;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < 8 {
        let mut byte = 0;
        while byte < 256 {
            let state = table[zeros - 1][byte];
            table[zeros][byte] = (state >> 8) ^ table[0][(state & 0xff) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    table
};

/// `OVER_LANE[n][byte]` is the register after [`LANE`] bytes of zero when its byte `n` was `byte` and the others zero.
static OVER_LANE: [[u32; 256]; 4] = {
    let mut bits = [0; 32];
    let mut bit = 0;
    while bit < 32 {
        let mut state = 1 << bit;
        let mut zeros = 0;
        while zeros < LANE {
            state = (state >> 8) ^ STEP[0][(state & 0xff) as usize];
            zeros += 1;
        }
        bits[bit] = state;
        bit += 1;
    }
    let mut table = [[0; 256]; 4];
    let mut i = 0;
    while i < 4 * 256 {
        let mut bit = 0;
        while bit < 8 {
            if i >> bit & 1 != 0 {
                table[i / 256][i % 256] ^= bits[i / 256 * 8 + bit];
            }
            bit += 1;
        }
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One bit at a time, straight from the definition.
    fn bitwise(crc: u32, bytes: &[u8]) -> u32 {
        let mut state = !crc;
        for byte in bytes {
            state ^= u32::from(*byte);
            for _ in 0..8 {
                state = (state >> 1) ^ (POLYNOMIAL & 0u32.wrapping_sub(state & 1));
            }
        }
        !state
    }

    #[test]
    fn agrees_with_the_vectors_of_rfc_3720() {
        let ascending: [u8; 32] = core::array::from_fn(|i| i as u8);
        let descending: [u8; 32] = core::array::from_fn(|i| 31 - i as u8);
        for (bytes, crc) in [
            (&[0; 32], 0x8A91_36AA),
            (&[0xff; 32], 0x62A8_AB43),
            (&ascending, 0x46DD_794E),
            (&descending, 0x113F_DB5C),
        ] {
            assert_eq!(crc32c(bytes), crc);
            assert_eq!(!tables(!0, bytes), crc);
        }
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(b""), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 256 }))]

        #[test]
        fn all_ways_agree(seed: u64, len in 0usize..if cfg!(miri) { 5_000 } else { 20_000 }, start in 0usize..16, cut: proptest::sample::Index) {
            let mut x = seed | 1;
            let bytes: std::vec::Vec<u8> = (0..len + start).map(|_| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                x as u8
            }).collect();
            let bytes = &bytes[start..];
            let expected = bitwise(0, bytes);
            prop_assert_eq!(crc32c(bytes), expected);
            prop_assert_eq!(!tables(!0, bytes), expected);
            let (a, b) = bytes.split_at(cut.index(len + 1));
            prop_assert_eq!(crc32c_append(crc32c(a), b), expected);
            prop_assert_eq!(!tables(tables(!0, a), b), expected);
        }
    }
}
