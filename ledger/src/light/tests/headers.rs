//! A header is believed from an old set only if more than a third of it signed, and a quorum of the header's own set did.

use super::{CHAIN, certified, keys, set_of, sign};
use crate::{
    block::CertifiedHeader,
    hash::ChainId,
    keys::SecretKey,
    light::{LightError, verify_skipping},
    units::{Height, Power},
    validators::ValidatorSet,
};

fn set() -> ValidatorSet {
    set_of(&keys(1, 4))
}

fn by(first: u8, count: u8) -> Vec<SecretKey> {
    keys(first, count)
}

#[test]
fn a_set_that_moved_on_is_believed_as_long_as_a_third_stayed() {
    let old = set();
    let mut moved: Vec<SecretKey> = by(1, 2).into_iter().chain(by(50, 2)).collect();
    moved.sort_by_key(SecretKey::address);
    let header = certified(9, &moved);
    verify_skipping(&CHAIN, &old, &header, &set_of(&moved)).unwrap();

    let mut too_far: Vec<SecretKey> = by(1, 1).into_iter().chain(by(50, 3)).collect();
    too_far.sort_by_key(SecretKey::address);
    let header = certified(9, &too_far);
    let error = verify_skipping(&CHAIN, &old, &header, &set_of(&too_far)).unwrap_err();
    assert!(
        matches!(
            error,
            LightError::TooFar {
                signed: Power(1),
                ..
            }
        ),
        "{error}"
    );
    assert!(!error.is_lie(), "the sets may honestly have moved apart");
}

/// Two chains whose names begin alike are told apart.
#[test]
fn another_chain_is_named_in_full() {
    let header = certified(9, &keys(1, 4));
    let mut other = CHAIN;
    other.0[31] ^= 1;
    let error = verify_skipping(&other, &set(), &header, &set()).unwrap_err();
    assert!(matches!(error, LightError::OtherChain { .. }), "{error}");
    for chain in [CHAIN, other] {
        assert!(error.to_string().contains(&chain.to_string()), "{error}");
    }
}

#[test]
fn strangers_with_a_quorum_of_their_own_prove_nothing() {
    let strangers = keys(100, 4);
    let header = certified(9, &strangers);
    let error = verify_skipping(&CHAIN, &set(), &header, &set_of(&strangers)).unwrap_err();
    assert!(
        matches!(
            error,
            LightError::TooFar {
                signed: Power(0),
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn each_part_must_belong_to_the_others() {
    let good = certified(9, &keys(1, 4));
    verify_skipping(&CHAIN, &set(), &good, &set()).unwrap();
    let refused = |error: &str, change: &dyn Fn(&mut CertifiedHeader)| {
        let mut bad = good.clone();
        change(&mut bad);
        let found = verify_skipping(&CHAIN, &set(), &bad, &set()).unwrap_err();
        assert!(found.to_string().contains(error), "{found}");
    };
    refused("is of chain", &|h| h.header.chain = ChainId([6; 32]));
    refused("protocol version 7", &|h| h.header.protocol_version = 7);
    refused("height 0", &|h| h.header.height = Height(0));
    refused("names validator set", &|h| {
        h.header.validators = Default::default()
    });
    refused("not", &|h| h.header.time.0 += 1);
    refused("2/3", &|h| h.certificate = sign(&h.header, &by(1, 2)));
    refused("does not verify", &|h| h.certificate.round.0 += 1);
}
