//! The SHA extensions of x86-64. Names of states are Intel's: `abef` holds the words a, b, e, f, the highest first.

#![expect(
    unsafe_code,
    reason = "the one call into code for processors that have the extensions, behind the check that this one has"
)]

use super::{Block, INITIAL};
use crate::state::tree::digest::{InnerMessage, Summary};
use std::arch::x86_64::*;

/// Bits of an inner node's message.
const INNER_BITS: i64 = 8 * InnerMessage::LEN as i64;

/// A block's words, the first lowest.
type Words = [__m128i; 4];

/// The digests of messages that are padded, if this processor has the extensions.
#[inline]
pub(super) fn digests<const LANES: usize, const BLOCKS: usize>(
    messages: [&[Block; BLOCKS]; LANES],
) -> Option<[[u8; 32]; LANES]> {
    // SAFETY: the features that the function is compiled for are there; it is safe in every other respect.
    able().then(|| unsafe { padded(messages) })
}

/// The hashes of inner nodes, if this processor has the extensions.
#[inline]
pub(super) fn inner<const LANES: usize>(
    messages: [&InnerMessage; LANES],
) -> Option<[[u8; 32]; LANES]> {
    // SAFETY: as above.
    able().then(|| unsafe { laid_out(messages) })
}

#[inline]
fn able() -> bool {
    is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1")
}

#[target_feature(enable = "sha,sse4.1")]
fn padded<const LANES: usize, const BLOCKS: usize>(
    messages: [&[Block; BLOCKS]; LANES],
) -> [[u8; 32]; LANES] {
    let mut words = [[[_mm_setzero_si128(); 4]; LANES]; BLOCKS];
    for (index, words) in words.iter_mut().enumerate() {
        for (words, message) in words.iter_mut().zip(messages) {
            for (words, bytes) in words.iter_mut().zip(message[index].as_chunks().0) {
                *words = in_words(bytes_16(bytes));
            }
        }
    }
    compress(words)
}

#[target_feature(enable = "sha,sse4.1")]
fn laid_out<const LANES: usize>(messages: [&InnerMessage; LANES]) -> [[u8; 32]; LANES] {
    let [mut first, mut second] = [[[_mm_setzero_si128(); 4]; LANES]; 2];
    for (lane, message) in messages.into_iter().enumerate() {
        [first[lane], second[lane]] = inner_words(message);
    }
    compress([first, second])
}

/// The words of an inner node's message. Laid out in registers: bytes that were just stored one by one and are then loaded by
/// sixteen make the processor wait, for longer than it takes to compress them.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn inner_words(message: &InnerMessage) -> [Words; 2] {
    let [tag, high, low] = message.head();
    // The three bytes before the children are the last of this one, so that each of the others starts three bytes later.
    let head = _mm_set_epi64x(i64::from_le_bytes([0, 0, 0, 0, 0, tag, high, low]), 0);
    let [left_a, left_b, left_c] = child(&message.left);
    let [right_a, right_b, right_c] = child(&message.right);
    let end = _mm_set_epi64x(0, 0x80);
    let length = _mm_set_epi64x(INNER_BITS << 32, 0);
    [
        [
            joined(head, left_a),
            joined(left_a, left_b),
            joined(left_b, left_c),
            joined(left_c, right_a),
        ],
        [
            joined(right_a, right_b),
            joined(right_b, right_c),
            joined(right_c, end),
            length,
        ],
    ]
}

/// The bytes that an inner node's message has of a child.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn child(sum: &Summary) -> [__m128i; 3] {
    let [hash_a, hash_b] = sum.hash.0.as_chunks().0 else {
        unreachable!("32 bytes are twice 16")
    };
    let number = |number: u64| i64::from_le_bytes(number.to_be_bytes());
    let (entries, bytes) = (number(sum.totals.entries), number(sum.totals.bytes));
    [
        bytes_16(hash_a),
        bytes_16(hash_b),
        _mm_set_epi64x(bytes, entries),
    ]
}

/// The words of the last three bytes of one and the first thirteen of the next.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn joined(one: __m128i, next: __m128i) -> __m128i {
    in_words(_mm_alignr_epi8(next, one, 13))
}

/// The digests of messages whose words these are, block after block, each of all lanes.
#[target_feature(enable = "sha,sse4.1")]
fn compress<const LANES: usize, const BLOCKS: usize>(
    mut words: [[Words; LANES]; BLOCKS],
) -> [[u8; 32]; LANES] {
    let [a, b, c, d, e, f, g, h] = INITIAL;
    let mut states = [[words_of([f, e, b, a]), words_of([h, g, d, c])]; LANES];
    for schedules in &mut words {
        let before = states;
        for quarter in 0..4 {
            for part in 0..4 {
                let keys = words_of(KEYS[4 * quarter + part]);
                for (schedule, state) in schedules.iter_mut().zip(&mut states) {
                    if quarter > 0 {
                        extend(schedule, part);
                    }
                    rounds(state, _mm_add_epi32(schedule[part], keys));
                }
            }
        }
        for (state, before) in states.iter_mut().zip(before) {
            for (half, before) in state.iter_mut().zip(before) {
                *half = _mm_add_epi32(*half, before);
            }
        }
    }
    let mut digests = [[0; 32]; LANES];
    for (digest, state) in digests.iter_mut().zip(states) {
        *digest = digest_of(state);
    }
    digests
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
fn extend(schedule: &mut Words, part: usize) {
    let next = schedule[(part + 1) % 4];
    let third = schedule[(part + 2) % 4];
    let newest = schedule[(part + 3) % 4];
    let sum = _mm_sha256msg1_epu32(schedule[part], next);
    let sum = _mm_add_epi32(sum, _mm_alignr_epi8(newest, third, 4));
    schedule[part] = _mm_sha256msg2_epu32(sum, newest);
}

/// Words from their bytes.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn in_words(bytes: __m128i) -> __m128i {
    let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    _mm_shuffle_epi8(bytes, order)
}

/// The state as bytes.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn digest_of([abef, cdgh]: [__m128i; 2]) -> [u8; 32] {
    let backwards = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    let abcd = _mm_shuffle_epi8(_mm_unpackhi_epi64(cdgh, abef), backwards);
    let efgh = _mm_shuffle_epi8(_mm_unpacklo_epi64(cdgh, abef), backwards);
    let parts = [
        _mm_extract_epi64(abcd, 0),
        _mm_extract_epi64(abcd, 1),
        _mm_extract_epi64(efgh, 0),
        _mm_extract_epi64(efgh, 1),
    ];
    let mut digest = [0; 32];
    for (bytes, part) in digest.as_chunks_mut::<8>().0.iter_mut().zip(parts) {
        *bytes = part.to_le_bytes();
    }
    digest
}

/// Sixteen bytes as they are.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn bytes_16(bytes: &[u8; 16]) -> __m128i {
    let [low, high] = bytes.as_chunks().0 else {
        unreachable!("16 bytes are twice 8")
    };
    _mm_set_epi64x(i64::from_le_bytes(*high), i64::from_le_bytes(*low))
}

/// Four words, the lowest first.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn words_of(words: [u32; 4]) -> __m128i {
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
