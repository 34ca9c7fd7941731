//! What every tree is measured with: entries of a 32-byte key and a 48-byte value, as an account or a small record is, and
//! batches of updates to random ones of them. The same for all trees that are compared (`tests/peers`).

use sha2::{Digest, Sha256};

/// A value.
pub type Value = [u8; 48];
/// Batches from one snapshot to the next: with more, ever less would be shared with the one held, and batches cheaper.
pub const SNAPSHOT_BATCHES: usize = 60;

/// The key of an entry, which is its place as well. Records of one space: the first 64 bits are the same.
pub fn key(number: u64) -> [u8; 32] {
    let mut key: [u8; 32] = Sha256::digest(number.to_be_bytes()).into();
    key[..8].copy_from_slice(&[2, 7, 7, 7, 7, 7, 7, 7]);
    key
}

/// The keys of so many entries, rising.
pub fn keys(entries: u64) -> Vec<[u8; 32]> {
    let mut keys: Vec<_> = (0..entries).map(key).collect();
    keys.sort_unstable();
    keys
}

/// A random generator that is the same everywhere.
pub struct Random(pub u64);

impl Random {
    /// The next number, of 31 bits.
    pub fn number(&mut self) -> u64 {
        let step = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = step.wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// Keys of entries that are there, and values new to them.
    pub fn updates(&mut self, batch: usize, entries: u64) -> Vec<([u8; 32], Value)> {
        let update = |_| {
            let (number, value) = (self.number(), self.number());
            (key(number % entries), [value.to_le_bytes()[0]; 48])
        };
        (0..batch).map(update).collect()
    }

    /// The batches from one snapshot to the next.
    pub fn batches(&mut self, batch: usize, entries: u64) -> Vec<Vec<([u8; 32], Value)>> {
        let batch = |_| self.updates(batch, entries);
        (0..SNAPSHOT_BATCHES).map(batch).collect()
    }
}
