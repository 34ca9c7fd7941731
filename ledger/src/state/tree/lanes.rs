//! SHA-256 of two messages at a time.
//!
//! One compression is a chain of instructions that each wait for the one before. Two chains that know nothing of each other run
//! side by side in the same processor and take about half the time each. Three or four do not fit the registers and gain nothing.
//!
//! On x86-64 with the SHA extensions this is written out; on every other processor messages go through `sha2`, one by one.

#[cfg(target_arch = "x86_64")]
mod x86;

use super::digest::InnerMessage;

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

/// The hashes of inner nodes.
#[inline]
pub(super) fn inner<const LANES: usize>(messages: [&InnerMessage; LANES]) -> [[u8; 32]; LANES] {
    #[cfg(target_arch = "x86_64")]
    if let Some(digests) = x86::inner(messages) {
        return digests;
    }
    messages.map(|message| portable(&message.blocks()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Hash;
    use crate::state::tree::digest::{Summary, Totals};
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

    fn summary(hash: [u8; 32], entries: u64, bytes: u64) -> Summary {
        let (hash, totals) = (Hash(hash), Totals { entries, bytes });
        Summary { hash, totals }
    }

    proptest! {
        /// What is laid out in registers is what is laid out in bytes.
        #[test]
        fn inner_nodes_are_their_blocks(
            bits in any::<[u16; 2]>(), hashes in any::<[[u8; 32]; 4]>(), totals in any::<[[u64; 2]; 4]>(),
        ) {
            let child = |i: usize| summary(hashes[i], totals[i][0], totals[i][1]);
            let a = InnerMessage { bit: bits[0], left: child(0), right: child(1) };
            let b = InnerMessage { bit: bits[1], left: child(2), right: child(3) };
            let expected = [portable(&a.blocks()), portable(&b.blocks())];
            prop_assert_eq!([inner([&a]), inner([&b])].concat(), expected);
            prop_assert_eq!(inner([&a, &b]), expected);
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
