//! The one encoding of everything that is signed, hashed, stored or sent.
//!
//! bincode 2 with serde, big-endian fixed-width integers. A value has exactly one encoding: [`decode`] refuses
//! trailing bytes and whatever does not encode back to the very same bytes. What is allocated follows from the bytes
//! that are there: at most 16 times as many for a text or byte string that promises more, at most 1 MiB for a list. bincode stays
//! behind this module, so that it can be replaced without touching a format.

use serde::{Serialize, de::DeserializeOwned};

/// No value is decoded from, or encoded to, more bytes than this. Larger than any block, chunk or manifest.
pub const ENCODED_BYTES_MAX: usize = 32 << 20;

/// What most values take.
const BYTES_EXPECTED: usize = 256;

fn config<const BYTES_MAX: usize>() -> impl bincode::config::Config {
    bincode::config::standard()
        .with_big_endian()
        .with_fixed_int_encoding()
        .with_limit::<BYTES_MAX>()
}

/// Reads a value from the front of `bytes`, and says how many it took.
///
/// For text and byte strings bincode sets aside at once what their length promises, up to its limit, which it wants to know
/// at compile time. With one limit for all, a message of 24 bytes had 32 MiB allocated; so the limit is the smallest of a
/// few that the bytes fit into. It is never in the way: no value takes more than its bytes.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), bincode::error::DecodeError> {
    use bincode::serde::decode_from_slice as read;
    match bytes.len() {
        ..=0x400 => read(bytes, config::<0x400>()),
        0x401..=0x4000 => read(bytes, config::<0x4000>()),
        0x4001..=0x4_0000 => read(bytes, config::<0x4_0000>()),
        0x4_0001..=0x40_0000 => read(bytes, config::<0x40_0000>()),
        _ => read(bytes, config::<ENCODED_BYTES_MAX>()),
    }
}

/// Why bytes were refused.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// More bytes than the caller, or anyone, may send.
    #[error("{found} bytes, at most {max} are allowed")]
    TooLarge {
        /// Bytes offered.
        found: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The bytes are not an encoding of the wanted type.
    #[error("not a valid encoding: {0}")]
    Malformed(String),
    /// The bytes decode, but are not the encoding of what they decode to.
    #[error("not the canonical encoding")]
    NotCanonical,
}

/// What bincode found wrong, in words where it has them.
fn malformed(error: bincode::error::DecodeError) -> CodecError {
    use bincode::error::DecodeError as E;
    CodecError::Malformed(match error {
        E::OtherString(why) => why,
        E::Other(why) => why.to_owned(),
        E::UnexpectedEnd { .. } => "it ends too early".to_owned(),
        other => other.to_string(),
    })
}

/// Encodes `value`.
///
/// # Panics
/// Never for the types of this project: encoding fails only for types that serde itself cannot describe.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    encode_expecting(value, BYTES_EXPECTED)
}

/// Encodes `value` into room for so many bytes, which grows if it takes more.
fn encode_expecting<T: Serialize + ?Sized>(value: &T, expected: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(expected);
    #[allow(
        clippy::expect_used,
        reason = "writing our own types to memory cannot fail"
    )]
    bincode::serde::encode_into_std_write(value, &mut bytes, config::<ENCODED_BYTES_MAX>())
        .expect("own types encode");
    bytes
}

/// Decodes a value of at most `max` bytes, and refuses any encoding but the canonical one.
///
/// # Errors
/// [`CodecError`] names the reason.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8], max: usize) -> Result<T, CodecError> {
    let value = decode_unchecked(bytes, max)?;
    if encode_expecting(&value, bytes.len()) != bytes {
        return Err(CodecError::NotCanonical);
    }
    Ok(value)
}

/// As [`decode`], for bytes that this node wrote itself and guards by a checksum.
///
/// # Errors
/// [`CodecError`] names the reason.
pub fn decode_unchecked<T: DeserializeOwned>(bytes: &[u8], max: usize) -> Result<T, CodecError> {
    let max = max.min(ENCODED_BYTES_MAX);
    if bytes.len() > max {
        return Err(CodecError::TooLarge {
            found: bytes.len(),
            max,
        });
    }
    let (value, read) = read(bytes).map_err(malformed)?;
    if read != bytes.len() {
        return Err(CodecError::Malformed(format!(
            "{} bytes left over",
            bytes.len() - read
        )));
    }
    Ok(value)
}

/// The value that an encoding begins with, as a struct's begins with its first field; what follows is not looked at. For
/// bytes that this node wrote itself and guards by a checksum.
///
/// # Errors
/// [`CodecError::Malformed`].
pub fn decode_first<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (value, _) = read(bytes).map_err(malformed)?;
    Ok(value)
}

/// Byte strings: a `u64` length and the bytes; lower-case hex where people read.
pub mod bytes {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes a byte string.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            hex::encode(bytes).serialize(serializer)
        } else {
            serializer.serialize_bytes(bytes)
        }
    }

    /// Reads a byte string.
    ///
    /// # Errors
    /// Those of the deserializer, and text that is not hex.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl serde::de::Visitor<'_> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a byte string")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }

            fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }
        }

        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            hex::decode(text).map_err(serde::de::Error::custom)
        } else {
            deserializer.deserialize_byte_buf(Bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_one_width_and_order() {
        assert_eq!(encode(&0x0102_0304_u32), [1, 2, 3, 4]);
        assert_eq!(encode(&7u64), [0, 0, 0, 0, 0, 0, 0, 7]);
    }

    /// What a decoder says about its value is said, without the name of its own error around it.
    #[test]
    fn an_error_is_told_in_words() {
        let not_text = decode::<String>(&encode(&vec![0xFF_u8]), 100).unwrap_err();
        let too_short = decode::<u64>(&[1], 10).unwrap_err().to_string();
        assert_eq!(too_short, "not a valid encoding: it ends too early");
        #[derive(Debug, serde::Serialize, serde::Deserialize)]
        struct Few(#[serde(deserialize_with = "none")] u8);
        fn none<'de, D: serde::Deserializer<'de>>(_: D) -> Result<u8, D::Error> {
            Err(serde::de::Error::custom("too many of them"))
        }
        let told = decode::<Few>(&[1], 10).unwrap_err().to_string();
        assert_eq!(told, "not a valid encoding: too many of them");
        assert!(!not_text.to_string().contains("OtherString"), "{not_text}");
    }

    #[test]
    fn refuses_what_is_left_over_too_long_or_not_canonical() {
        assert!(matches!(
            decode::<u8>(&[1, 2], 10),
            Err(CodecError::Malformed(_))
        ));
        assert!(matches!(
            decode::<u8>(&[1, 2], 1),
            Err(CodecError::TooLarge { found: 2, max: 1 })
        ));
        assert!(matches!(
            decode::<bool>(&[2], 10),
            Err(CodecError::Malformed(_))
        ));
        let unsorted = encode(&vec![(2u8, ()), (1u8, ())]);
        let result = decode::<std::collections::BTreeMap<u8, ()>>(&unsorted, 100);
        assert!(
            matches!(result, Err(CodecError::NotCanonical)),
            "{result:?}"
        );
    }

    /// At every length at which another limit begins, and to both sides of it, a value that fills its bytes is read.
    #[test]
    fn no_limit_is_in_the_way_of_a_value() {
        for step in [0x400, 0x4000, 0x4_0000, 0x40_0000] {
            for len in step - 8 - 2..=step - 8 + 2 {
                let text = encode(&"x".repeat(len));
                assert_eq!(decode::<String>(&text, usize::MAX).unwrap().len(), len);
                let list = encode(&vec![7u8; len]);
                assert_eq!(decode::<Vec<u8>>(&list, usize::MAX).unwrap().len(), len);
            }
        }
        let most = encode(&vec![(1u64, 2u32, false); (ENCODED_BYTES_MAX - 8) / 13]);
        assert!(decode::<Vec<(u64, u32, bool)>>(&most, usize::MAX).is_ok());
    }

    #[test]
    fn the_first_field_is_read_alone() {
        let bytes = encode(&((7u64, 8u8), "and more"));
        assert_eq!(decode_first::<u64>(&bytes).unwrap(), 7);
        assert!(decode_first::<u64>(&bytes[..7]).is_err());
    }

    #[test]
    fn a_length_that_promises_too_much_allocates_nothing() {
        let bytes = encode(&u64::MAX);
        assert!(decode::<Vec<u8>>(&bytes, 100).is_err());
        assert!(decode::<String>(&bytes, 100).is_err());
    }
}
