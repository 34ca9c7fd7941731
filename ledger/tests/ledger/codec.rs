//! Every type that is decoded from outside has one encoding a value: what was encoded is read again; what is cut, lengthened or
//! changed is refused, or is the encoding of another value. Nothing panics.

use crate::arbitrary;
use ledger::codec::{decode, encode};
use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;

/// Ways of changing a byte: each bit, the next value up, zero, and all ones.
const CHANGES: [fn(u8) -> u8; 7] = [
    |b| b ^ 1,
    |b| b ^ 2,
    |b| b ^ 0x10,
    |b| b ^ 0x80,
    |b| b.wrapping_add(1),
    |_| 0,
    |_| 0xff,
];
const MAX: usize = 1 << 16;

fn has_one_encoding<T>(value: &T) -> Result<(), TestCaseError>
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let good = encode(value);
    let read: Result<T, _> = decode(&good, good.len());
    prop_assert_eq!(
        &read.map_err(|e| TestCaseError::fail(e.to_string()))?,
        value
    );
    prop_assert!(
        decode::<T>(&good, good.len() - 1).is_err(),
        "above its bound"
    );
    for len in 0..good.len() {
        prop_assert!(decode::<T>(&good[..len], MAX).is_err(), "cut to {}", len);
    }
    for more in [0u8, 1, 0xff] {
        let long = [&good[..], &[more]].concat();
        prop_assert!(decode::<T>(&long, MAX).is_err(), "{} behind it", more);
    }
    let mut bytes = good.clone();
    for at in 0..good.len() {
        for change in CHANGES {
            bytes[at] = change(good[at]);
            if let Ok(other) = decode::<T>(&bytes, MAX) {
                prop_assert_eq!(encode(&other), &bytes[..], "byte {}", at);
                prop_assert_eq!(bytes[at] == good[at], other == *value, "byte {}", at);
            }
        }
        bytes[at] = good[at];
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn transactions(value in arbitrary::transaction()) {
        has_one_encoding(&value)?;
    }

    #[test]
    fn envelopes(value in arbitrary::envelope()) {
        has_one_encoding(&value)?;
    }

    #[test]
    fn headers_with_certificates(value in arbitrary::certified_header()) {
        has_one_encoding(&value)?;
    }

    #[test]
    fn blocks(value in arbitrary::block()) {
        has_one_encoding(&value)?;
    }

    #[test]
    fn validator_sets(value in arbitrary::validators()) {
        has_one_encoding(&value)?;
    }

    #[test]
    fn keys_of_the_state(value in arbitrary::state_key()) {
        has_one_encoding(&value)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Bytes of nobody: whatever is taken is the encoding of what it is taken for.
    #[test]
    fn any_bytes(bytes in arbitrary::bytes(300)) {
        fn check<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> bool {
            decode::<T>(bytes, MAX).is_ok_and(|value| encode(&value) != bytes)
        }
        prop_assert!(!check::<ledger::transaction::SignedTransaction>(&bytes));
        prop_assert!(!check::<ledger::envelope::Envelope>(&bytes));
        prop_assert!(!check::<ledger::block::UnverifiedBlock>(&bytes));
        prop_assert!(!check::<ledger::validators::ValidatorSet>(&bytes));
        prop_assert!(!check::<ledger::state::entries::Key>(&bytes));
        prop_assert!(!check::<ledger::state::tree::Proof>(&bytes));
    }
}
