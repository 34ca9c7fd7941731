//! SHA-256 with a domain tag on every use, and one type for each thing that is named by a hash.
//!
//! Two values of different kinds never share a preimage: every digest starts with a [`Domain`] of its own.

use sha2::{Digest, Sha256};
use std::fmt;

/// What a digest is a digest of. The tag is the first byte that is hashed.
///
/// The numbers are part of every format on disk and on the wire: add, never renumber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Domain {
    /// The hash of the empty state tree.
    TreeEmpty = 0x00,
    /// A leaf of the state tree.
    TreeLeaf = 0x01,
    /// An inner node of the state tree.
    TreeInner = 0x02,
    /// The value held by a leaf of the state tree.
    TreeValue = 0x03,
    /// The place of an entry in the state tree.
    Place = 0x04,
    /// A genesis file; the digest is the chain's id.
    Genesis = 0x10,
    /// An address, from a public key.
    Address = 0x11,
    /// What a sender signs.
    TransactionPayload = 0x12,
    /// A signed transaction; the digest is its id.
    TransactionId = 0x13,
    /// A leaf of a block's transactions root.
    TransactionLeaf = 0x14,
    /// An inner node of a block's transactions root.
    TransactionInner = 0x15,
    /// A block header; the digest is the block's hash.
    Header = 0x16,
    /// A certificate.
    Certificate = 0x17,
    /// A validator set.
    ValidatorSet = 0x18,
    /// The list of a block's transactions, by id.
    TransactionIds = 0x19,
    /// The key and value of a record that a genesis generates.
    Generated = 0x1a,
    /// What a validator signs to propose.
    Proposal = 0x20,
    /// What a validator signs to vote.
    Vote = 0x21,
    /// What the origin of an envelope signs.
    Envelope = 0x22,
    /// What a node signs to attest a state root.
    Attestation = 0x23,
    /// A snapshot's manifest.
    Manifest = 0x30,
}

/// A running digest that began with its domain tag.
#[derive(Clone)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Starts a digest in `domain`.
    pub fn new(domain: Domain) -> Self {
        Self(Sha256::new_with_prefix([domain as u8]))
    }

    /// Adds bytes. Callers keep the encoding unambiguous: fixed width, or length first.
    #[must_use]
    pub fn chain(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.update(bytes);
        self
    }

    /// Ends the digest.
    pub fn finish(self) -> Hash {
        Hash(self.0.finalize().into())
    }
}

/// Hashes `bytes` in `domain`.
pub fn hash(domain: Domain, bytes: &[u8]) -> Hash {
    Hasher::new(domain).chain(bytes).finish()
}

/// A 32-byte SHA-256 digest, before it is known what it names.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

/// Fixed-size byte strings: lower-case hex for people, raw bytes in the canonical codec.
macro_rules! fixed_bytes {
    ($name:ident, $len:literal) => {
        impl $name {
            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                if let Some(digits) = f.precision() {
                    let text = hex::encode(self.0);
                    return f.write_str(text.get(..digits).unwrap_or(&text));
                }
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:.8})"), self)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::hash::ParseHexError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let mut bytes = [0u8; $len];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| {
                    $crate::hash::ParseHexError {
                        expected: $len * 2,
                        found: text.chars().count(),
                    }
                })?;
                Ok(Self(bytes))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                $crate::hash::serialize_bytes(&self.0, s)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                $crate::hash::deserialize_bytes::<$len, D>(d).map(Self)
            }
        }
    };
}
pub(crate) use fixed_bytes;

fixed_bytes!(Hash, 32);

/// Declares a type for one kind of thing that is named by a hash.
macro_rules! named_hash {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        fixed_bytes!($name, 32);

        impl From<Hash> for $name {
            fn from(hash: Hash) -> Self {
                Self(hash.0)
            }
        }

        impl From<$name> for Hash {
            fn from(name: $name) -> Self {
                Self(name.0)
            }
        }
    };
}

named_hash!(
    /// The hash of a block's header: the block's name.
    BlockHash
);
named_hash!(
    /// The Merkle root of the whole state after a block.
    StateRoot
);
named_hash!(
    /// The hash of a signed transaction, its signature included.
    TxId
);
named_hash!(
    /// The hash of the list of a block's transactions, by id.
    TransactionIdsHash
);
named_hash!(
    /// The root over the (id, outcome) pairs of a block's transactions.
    TransactionsRoot
);
named_hash!(
    /// The hash of a validator set.
    ValidatorSetHash
);
named_hash!(
    /// The hash of a certificate.
    CertificateHash
);
named_hash!(
    /// The hash of the genesis, which every signature covers.
    ChainId
);
named_hash!(
    /// An account's address: the hash of its public key.
    Address
);

/// A text is not the hex form of the wanted number of bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} hex digits, found {found} characters")]
pub struct ParseHexError {
    /// Hex digits wanted.
    pub expected: usize,
    /// Characters found.
    pub found: usize,
}

/// Bytes that are encoded as one number, which in our codec is these very bytes: one by one, each would cost a call.
const GROUP: usize = 16;

pub(crate) fn serialize_bytes<const N: usize, S: serde::Serializer>(
    bytes: &[u8; N],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        return serializer.serialize_str(&hex::encode(bytes));
    }
    use serde::ser::SerializeTuple;
    let (groups, rest) = bytes.as_chunks::<GROUP>();
    let mut tuple = serializer.serialize_tuple(groups.len() + rest.len())?;
    for group in groups {
        tuple.serialize_element(&u128::from_be_bytes(*group))?;
    }
    for byte in rest {
        tuple.serialize_element(byte)?;
    }
    tuple.end()
}

pub(crate) fn deserialize_bytes<'de, const N: usize, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<[u8; N], D::Error> {
    struct Text<const N: usize>;
    impl<const N: usize> serde::de::Visitor<'_> for Text<N> {
        type Value = [u8; N];

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{} hex digits", N * 2)
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<[u8; N], E> {
            let mut bytes = [0u8; N];
            hex::decode_to_slice(text, &mut bytes)
                .map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))?;
            Ok(bytes)
        }
    }

    struct Raw<const N: usize>;
    impl<'de, const N: usize> serde::de::Visitor<'de> for Raw<N> {
        type Value = [u8; N];

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{N} bytes")
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<[u8; N], A::Error> {
            let mut bytes = [0u8; N];
            let short = || serde::de::Error::custom("it ends too early");
            let (groups, rest) = bytes.as_chunks_mut::<GROUP>();
            for group in groups {
                let number: u128 = seq.next_element()?.ok_or_else(short)?;
                *group = number.to_be_bytes();
            }
            for byte in rest {
                *byte = seq.next_element()?.ok_or_else(short)?;
            }
            Ok(bytes)
        }
    }

    if deserializer.is_human_readable() {
        deserializer.deserialize_str(Text::<N>)
    } else {
        deserializer.deserialize_tuple(N / GROUP + N % GROUP, Raw::<N>)
    }
}
