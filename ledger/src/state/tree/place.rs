//! Positions in the tree: a [`Place`] names one entry, a [`Prefix`] names everything below one point.
//!
//! Bits are counted from the front: bit 0 is the most significant bit of byte 0, so that the order of the bits is the
//! order of the bytes.

use crate::hash::fixed_bytes;
use std::fmt;

/// Bits in a place, and so the greatest depth of the tree.
pub const PLACE_BITS: u16 = 256;

/// Where an entry stands in the tree. Whoever owns the entries derives it from the key.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(pub [u8; 32]);

fixed_bytes!(Place, 32);

impl Place {
    /// The place right after this one; none after the last.
    pub fn next(&self) -> Option<Self> {
        let mut place = *self;
        for byte in place.0.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                return Some(place);
            }
        }
        None
    }
}

/// The first `len` bits of a place: a point in the tree, and all that lies below it.
///
/// Bits behind `len` are zero, always, so that one prefix has one form.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "RawPrefix")]
pub struct Prefix {
    bits: Place,
    len: u16,
}

/// A prefix as it is encoded, before it is known to be in its one form.
#[derive(serde::Deserialize)]
#[serde(rename = "Prefix")]
struct RawPrefix {
    bits: Place,
    len: u16,
}

/// These bits and this length are no prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Longer than a place.
    #[error("a prefix of {0} bits, a place has {PLACE_BITS}")]
    TooLong(u16),
    /// A bit behind the end is set.
    #[error("a prefix of {0} bits has a bit set behind its end")]
    BitsBehindEnd(u16),
}

impl Prefix {
    /// The prefix of everything.
    pub const ROOT: Self = Self {
        bits: Place([0; 32]),
        len: 0,
    };

    /// A prefix from its bits, which are zero behind `len`.
    ///
    /// # Errors
    /// When `len` is above [`PLACE_BITS`], or a bit behind it is set.
    pub fn new(bits: Place, len: u16) -> Result<Self, PrefixError> {
        if len > PLACE_BITS {
            return Err(PrefixError::TooLong(len));
        }
        let prefix = Self::of(&bits, len);
        if prefix.bits != bits {
            return Err(PrefixError::BitsBehindEnd(len));
        }
        Ok(prefix)
    }

    /// The first `len` bits of `place`; all of them when `len` is above [`PLACE_BITS`].
    pub fn of(place: &Place, len: u16) -> Self {
        let len = len.min(PLACE_BITS);
        Self {
            bits: Place(masked(&place.0, len)),
            len,
        }
    }

    /// The bits, zero behind the prefix's length.
    pub fn bits(&self) -> &Place {
        &self.bits
    }

    /// How many bits count.
    pub fn bit_count(&self) -> u16 {
        self.len
    }

    /// Whether `place` begins with this prefix.
    pub fn contains(&self, place: &Place) -> bool {
        parting(&self.bits.0, &place.0) >= self.len
    }

    /// Whether every place below `other` begins with this prefix.
    pub fn covers(&self, other: &Self) -> bool {
        self.len <= other.len && self.contains(&other.bits)
    }
}

impl TryFrom<RawPrefix> for Prefix {
    type Error = PrefixError;

    fn try_from(raw: RawPrefix) -> Result<Self, PrefixError> {
        Self::new(raw.bits, raw.len)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = usize::from(self.len.div_ceil(4));
        write!(f, "{:.digits$}/{}", self.bits, self.len)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prefix({self})")
    }
}

/// Whether bit `index` of a place is set; no bit behind the end is.
#[inline]
pub(super) fn bit(place: &[u8; 32], index: u16) -> bool {
    let byte = place.get(usize::from(index >> 3)).copied().unwrap_or(0);
    byte >> (7 - (index & 7)) & 1 == 1
}

/// The first bit at which two places part; [`PLACE_BITS`] when they are equal.
#[inline]
pub(super) fn parting(a: &[u8; 32], b: &[u8; 32]) -> u16 {
    let (a, b) = (a.as_chunks::<16>().0, b.as_chunks::<16>().0);
    let mut before = 0;
    for (a, b) in a.iter().zip(b) {
        let difference = u128::from_be_bytes(*a) ^ u128::from_be_bytes(*b);
        if difference != 0 {
            let [_, _, high, low] = difference.leading_zeros().to_be_bytes();
            return before + u16::from_be_bytes([high, low]);
        }
        before += 128;
    }
    PLACE_BITS
}

/// The first `len` bits, the others zero.
pub(super) fn masked(place: &[u8; 32], len: u16) -> [u8; 32] {
    let (whole, rest) = (usize::from(len >> 3), len & 7);
    let mut bits = *place;
    for (index, byte) in bits.iter_mut().enumerate().skip(whole) {
        let keep = if index == whole { !(0xff >> rest) } else { 0 };
        *byte &= keep;
    }
    bits
}
