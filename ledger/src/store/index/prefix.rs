//! The beginning of a hash, as people type it.

use crate::hash::Hash;

/// The fewest hex digits that are looked up as a prefix.
pub const PREFIX_DIGITS_MIN: usize = 8;

/// The beginning of a hash, in hex digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashPrefix {
    /// The digits, an odd last one filled up with zero.
    bytes: Vec<u8>,
    digits: usize,
}

/// A text is no prefix that can be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {PREFIX_DIGITS_MIN} to 64 hex digits")]
pub struct BadPrefix;

impl std::str::FromStr for HashPrefix {
    type Err = BadPrefix;

    fn from_str(text: &str) -> Result<Self, BadPrefix> {
        let digits = text.len();
        if !(PREFIX_DIGITS_MIN..=64).contains(&digits) {
            return Err(BadPrefix);
        }
        let even = if digits.is_multiple_of(2) { "" } else { "0" };
        let bytes = hex::decode(format!("{text}{even}")).map_err(|_| BadPrefix)?;
        Ok(Self { bytes, digits })
    }
}

impl HashPrefix {
    /// The bytes at or after which all hashes are that begin so.
    pub fn lowest(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether a hash begins so.
    pub fn begins(&self, hash: &Hash) -> bool {
        self.is_begin_of(hash.as_bytes())
    }

    pub(super) fn is_begin_of(&self, hash: &[u8]) -> bool {
        let whole = self.digits / 2;
        hash.get(..whole) == self.bytes.get(..whole)
            && (self.digits.is_multiple_of(2)
                || hash.get(whole).map(|byte| byte >> 4)
                    == self.bytes.get(whole).map(|byte| byte >> 4))
    }
}
