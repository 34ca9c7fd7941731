//! SHA-256 of two messages at a time.
//!
//! One compression is a chain of instructions that each wait for the one before. Two chains that know nothing of each other run
//! side by side in the same processor and take about half the time each. Three or four do not fit the registers and gain nothing.
//!
//! On x86-64 with the SHA extensions this is written out; on every other processor messages go through `sha2`, one by one.

/// What is compressed at a time.
pub(super) type Block = [u8; 64];

/// The state that a digest begins with.
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// The digest of a message that is padded.
#[inline]
pub(super) fn one<const BLOCKS: usize>(message: &[Block; BLOCKS]) -> [u8; 32] {
    #[cfg(target_arch = "x86_64")]
    if let Some([digest]) = x86::digests([message]) {
        return digest;
    }
    portable(message)
}

/// The digests of two messages that are padded.
#[inline]
pub(super) fn two<const BLOCKS: usize>(messages: [&[Block; BLOCKS]; 2]) -> [[u8; 32]; 2] {
    #[cfg(target_arch = "x86_64")]
    if let Some(digests) = x86::digests(messages) {
        return digests;
    }
    messages.map(|message| portable(message))
}

fn portable(message: &[Block]) -> [u8; 32] {
    let mut state = INITIAL;
    sha2::block_api::compress256(&mut state, message);
    let mut digest = [0; 32];
    for (word, bytes) in state.iter().zip(digest.as_chunks_mut::<4>().0) {
        *bytes = word.to_be_bytes();
    }
    digest
}

/// The SHA extensions of x86-64. Names of states are Intel's: `abef` holds the words a, b, e, f, the highest first.
#[cfg(target_arch = "x86_64")]
mod x86 {
    #![expect(
        unsafe_code,
        reason = "the one call into code for processors that have the extensions, behind the check that this one has"
    )]

    use super::{Block, INITIAL};
    use std::arch::x86_64::*;
    use std::array::from_fn;

    /// The digests, if this processor has the extensions.
    #[inline]
    pub(super) fn digests<const LANES: usize, const BLOCKS: usize>(
        messages: [&[Block; BLOCKS]; LANES],
    ) -> Option<[[u8; 32]; LANES]> {
        let able = is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1");
        // SAFETY: the features that the function is compiled for are there; it is safe in every other respect.
        able.then(|| unsafe { compress(messages) })
    }

    #[target_feature(enable = "sha,sse4.1")]
    fn compress<const LANES: usize, const BLOCKS: usize>(
        messages: [&[Block; BLOCKS]; LANES],
    ) -> [[u8; 32]; LANES] {
        let [a, b, c, d, e, f, g, h] = INITIAL;
        let mut states = [[words([f, e, b, a]), words([h, g, d, c])]; LANES];
        for block in 0..BLOCKS {
            let before = states;
            let mut schedules = messages.map(|message| schedule(&message[block]));
            for quarter in 0..4 {
                for part in 0..4 {
                    let keys = words(KEYS[4 * quarter + part]);
                    for lane in 0..LANES {
                        let schedule = &mut schedules[lane];
                        if quarter > 0 {
                            extend(schedule, part);
                        }
                        rounds(&mut states[lane], _mm_add_epi32(schedule[part], keys));
                    }
                }
            }
            for (state, before) in states.iter_mut().zip(before) {
                *state = from_fn(|half| _mm_add_epi32(state[half], before[half]));
            }
        }
        states.map(|state| digest(state))
    }

    /// Four rounds.
    #[inline]
    #[target_feature(enable = "sha,sse4.1")]
    fn rounds([abef, cdgh]: &mut [__m128i; 2], words: __m128i) {
        *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, words);
        *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, _mm_shuffle_epi32(words, 0x0e));
    }

    /// Replaces four words of the schedule, the oldest, by those that come after the newest.
    #[inline]
    #[target_feature(enable = "sha,sse4.1")]
    fn extend(schedule: &mut [__m128i; 4], part: usize) {
        let [next, third, newest] = from_fn(|after| schedule[(part + after + 1) % 4]);
        let sum = _mm_sha256msg1_epu32(schedule[part], next);
        let sum = _mm_add_epi32(sum, _mm_alignr_epi8(newest, third, 4));
        schedule[part] = _mm_sha256msg2_epu32(sum, newest);
    }

    /// The block's words.
    #[inline]
    #[target_feature(enable = "sha,sse4.1")]
    fn schedule(block: &Block) -> [__m128i; 4] {
        let bytes = block.as_chunks::<8>().0;
        let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        from_fn(|part| {
            let [low, high] = from_fn(|half| i64::from_le_bytes(bytes[2 * part + half]));
            _mm_shuffle_epi8(_mm_set_epi64x(high, low), order)
        })
    }

    /// The state's words as bytes.
    #[inline]
    #[target_feature(enable = "sha,sse4.1")]
    fn digest([abef, cdgh]: [__m128i; 2]) -> [u8; 32] {
        let halves = [
            _mm_extract_epi64(abef, 1),
            _mm_extract_epi64(cdgh, 1),
            _mm_extract_epi64(abef, 0),
            _mm_extract_epi64(cdgh, 0),
        ];
        let mut digest = [0; 32];
        for (half, bytes) in halves.iter().zip(digest.as_chunks_mut::<8>().0) {
            *bytes = half.to_be_bytes();
        }
        digest
    }

    /// Four words, the lowest first.
    #[inline]
    #[target_feature(enable = "sha,sse4.1")]
    fn words(words: [u32; 4]) -> __m128i {
        let [a, b, c, d] = words.map(u32::cast_signed);
        _mm_set_epi32(d, c, b, a)
    }

    /// The constants that are added to the words of the schedule.
    const KEYS: [[u32; 4]; 16] = [
        [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
        [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
        [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
        [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
        [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
        [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
        [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
        [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
        [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
        [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
        [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
        [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
        [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
        [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
        [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
        [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
    ];
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check<const BLOCKS: usize>(a: &[Block; BLOCKS], b: &[Block; BLOCKS]) {
        let expected = [portable(a), portable(b)];
        assert_eq!([one(a), one(b)], expected);
        assert_eq!(two([a, b]), expected);
        assert_eq!(two([b, a]), [expected[1], expected[0]]);
    }

    proptest! {
        /// Alone and in a pair: what `sha2` gives.
        #[test]
        fn lanes_are_sha_256(bytes in prop::collection::vec(any::<u8>(), 8 * 64)) {
            let blocks = bytes.as_chunks::<64>().0;
            let [a, b, c, d, e, f, g, h] = *blocks else { unreachable!() };
            check(&[a], &[b]);
            check(&[c, d], &[e, f]);
            check(&[a, b, c, d], &[e, f, g, h]);
        }
    }

    /// The digest of "abc", from the standard.
    #[test]
    fn a_known_digest() {
        let mut block = [0; 64];
        block[..4].copy_from_slice(b"abc\x80");
        block[63] = 24;
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let found = [one(&[block]), portable(&[block])].map(hex::encode);
        assert_eq!(found, [expected; 2]);
    }
}
