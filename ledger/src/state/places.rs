//! The places of many keys as leaves keep them: what loading a snapshot needs of each entry.
//!
//! A key's place follows from [`Key`]; making that for each of millions of records costs more than hashing them. Nearly all keys
//! are of records, neighbours in the tree are of one space, and a record's key is read off its bytes: tag, length, space,
//! length, key. Every other key goes the plain way.

use super::{
    entries::{KEY_BYTES_MAX, Key, record_place, record_subtree},
    tree::Place,
};
use crate::codec;

/// Finds places. Remembers the space of the last record.
#[derive(Debug, Default)]
pub struct Places {
    /// The last record's space, and the first eight bytes of its records' places.
    space: Option<(Vec<u8>, [u8; 8])>,
}

impl Places {
    /// The place of the entry that has this key; none if it is no key of a state.
    pub fn of(&mut self, encoded: &[u8]) -> Option<Place> {
        if encoded.len() > KEY_BYTES_MAX {
            return None;
        }
        let Some(space) = space_of_record(encoded) else {
            let key: Key = codec::decode(encoded, KEY_BYTES_MAX).ok()?;
            return Some(key.place());
        };
        if let Some((last, subtree)) = &self.space
            && last == space.as_bytes()
        {
            return Some(record_place(*subtree, encoded));
        }
        let subtree = record_subtree(space);
        self.space = Some((space.as_bytes().to_vec(), subtree));
        Some(record_place(subtree, encoded))
    }
}

/// The space of a record's key, if these bytes are the encoding of one.
fn space_of_record(encoded: &[u8]) -> Option<&str> {
    let (tag, rest) = encoded.split_first_chunk::<4>()?;
    if u32::from_be_bytes(*tag) != u32::from(Key::RECORD) {
        return None;
    }
    let (space, rest) = text(rest)?;
    let (_, rest) = text(rest)?;
    if !rest.is_empty() {
        return None;
    }
    std::str::from_utf8(space).ok()
}

/// Bytes after their length, and what follows.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<8>()?;
    rest.split_at_checked(usize::try_from(u64::from_be_bytes(*len)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Address;
    use proptest::prelude::*;

    fn key() -> impl Strategy<Value = Key> {
        let space = prop_oneof![Just("a".to_owned()), Just("b".to_owned()), ".{0,40}"];
        prop_oneof![
            Just(Key::Parameters),
            Just(Key::Validators),
            any::<[u8; 32]>().prop_map(|bytes| Key::Account(Address(bytes))),
            space.clone().prop_map(Key::Space),
            (space, prop::collection::vec(any::<u8>(), 0..60))
                .prop_map(|(space, key)| Key::Record { space, key }),
        ]
    }

    proptest! {
        #[test]
        fn places_are_those_of_the_keys(keys in prop::collection::vec(key(), 1..20)) {
            let mut places = Places::default();
            for key in keys {
                prop_assert_eq!(places.of(&key.encode()), Some(key.place()));
            }
        }

        #[test]
        fn what_is_no_key_has_no_place(mut bytes in prop::collection::vec(any::<u8>(), 0..100), tag in 0..8_u8) {
            if let Some(first) = bytes.first_chunk_mut::<4>() {
                *first = [0, 0, 0, tag];
            }
            let plain = codec::decode::<Key>(&bytes, KEY_BYTES_MAX).ok().map(|key| key.place());
            prop_assert_eq!(Places::default().of(&bytes), plain);
        }

        #[test]
        fn a_changed_key_has_the_place_that_the_plain_way_gives(key in key(), at in any::<prop::sample::Index>(), bit in 0..8_u32) {
            let mut bytes = key.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            let plain = codec::decode::<Key>(&bytes, KEY_BYTES_MAX).ok().map(|key| key.place());
            prop_assert_eq!(Places::default().of(&bytes), plain);
            bytes.pop();
            let plain = codec::decode::<Key>(&bytes, KEY_BYTES_MAX).ok().map(|key| key.place());
            prop_assert_eq!(Places::default().of(&bytes), plain);
        }
    }
}
