//! Following a chain skips what it can, bridges what it must, and believes nothing that is not the chain's.

use super::{Chain, keys, set_of, sign};
use crate::{
    keys::SecretKey,
    light::{Checkpoint, Clock, FollowError, Followed, LightBlock, LightError, Trusted, follow},
    units::{Height, TimestampMs},
};
use std::collections::BTreeSet;

const CLOCK: Clock = Clock {
    now: TimestampMs(10_000_000),
    trusting_period_ms: 10_000_000,
};

type Result = std::result::Result<Followed, FollowError<&'static str>>;

/// Follows to the last block, and says which heights were fetched.
fn follow_to_the_end(chain: &Chain, trusted: Trusted) -> (Result, BTreeSet<u64>) {
    let mut fetched = BTreeSet::new();
    let result = follow(trusted, chain.last(), &CLOCK, |height| {
        fetched.insert(height.0);
        Ok(chain.at(height.0))
    });
    (result, fetched)
}

/// One validator of four is replaced every ten heights: after forty, none is left.
fn rotating(height: u64) -> Vec<SecretKey> {
    let step = u8::try_from(height / 10).unwrap();
    keys(1 + step, 4)
}

#[test]
fn the_same_validators_are_followed_in_one_step() {
    let chain = Chain::new(200, |_| keys(1, 4));
    let (followed, fetched) = follow_to_the_end(&chain, chain.trusted());
    let followed = followed.unwrap();
    assert_eq!(fetched, BTreeSet::new());
    assert_eq!(followed.trusted.height(), Height(200));
    assert_eq!(followed.trusted.hash(), chain.last().header.hash());
    assert_eq!(
        (followed.headers_checked, followed.validator_set_changes),
        (1, 0)
    );
}

#[test]
fn a_set_that_was_replaced_whole_is_bridged() {
    let chain = Chain::new(400, rotating);
    let (followed, fetched) = follow_to_the_end(&chain, chain.trusted());
    let followed = followed.unwrap();
    assert_eq!(followed.trusted.hash(), chain.last().header.hash());
    assert!(
        (19..80).contains(&followed.headers_checked),
        "{} headers of 400, each step at most two changes of 40",
        followed.headers_checked
    );
    assert_eq!(fetched.len() as u64 + 1, followed.headers_checked);
    assert!(followed.validator_set_changes >= 19, "{followed:?}");
}

/// All validators change at once, which only two neighbours bridge: the first announces the second's.
#[test]
fn a_set_that_changes_at_once_is_bridged_by_neighbours() {
    let chain = Chain::new(100, |height| keys(if height < 37 { 1 } else { 50 }, 4));
    let (followed, fetched) = follow_to_the_end(&chain, chain.trusted());
    let followed = followed.unwrap();
    assert_eq!(followed.trusted.hash(), chain.last().header.hash());
    assert_eq!(followed.validator_set_changes, 1);
    assert!(
        fetched.contains(&36) && fetched.contains(&37),
        "{fetched:?}"
    );
    assert!(fetched.len() < 14, "{fetched:?}");
}

/// Strangers take over whom nobody announced.
#[test]
fn a_set_that_nobody_announced_cannot_be_bridged() {
    let mut chain = Chain::new(64, |height| keys(if height < 20 { 1 } else { 50 }, 4));
    let own = set_of(&keys(1, 4)).hash();
    let last_own = &mut chain.blocks[18];
    last_own.header.next_validators = own;
    last_own.certificate = sign(&last_own.header, &keys(1, 4));
    let (followed, _) = follow_to_the_end(&chain, chain.trusted());
    let error = followed.unwrap_err();
    let not_next = FollowError::Light {
        height: Height(20),
        source: LightError::NotNext(Height(20)),
    };
    assert_eq!(error, not_next);
    assert!(error.is_lie());
}

#[test]
fn a_forged_header_is_named_with_its_height() {
    let chain = Chain::new(40, |_| keys(1, 4));
    let refused = |words: &str, forge: &dyn Fn(&mut LightBlock)| {
        let mut forged = chain.last();
        forge(&mut forged);
        let error = follow(chain.trusted(), forged, &CLOCK, |_| Err("nobody"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("height 40") && error.contains(words),
            "{error}"
        );
    };
    refused("not", &|b| b.header.state_root.0[0] ^= 1);
    refused("2/3", &|b| b.certificate.signatures.truncate(2));
    refused("names validator set", &|b| {
        b.validators = set_of(&keys(1, 3));
    });
    refused("is of chain", &|b| b.header.chain.0[0] ^= 1);
    // Signed by all, and dated before the genesis.
    refused("is of time 0", &|b| {
        b.header.time = TimestampMs(0);
        b.certificate = sign(&b.header, &keys(1, 4));
    });
}

#[test]
fn another_height_than_the_one_asked_for_is_refused() {
    let chain = Chain::new(100, rotating);
    let error = follow(chain.trusted(), chain.last(), &CLOCK, |height| {
        Ok::<_, ()>(chain.at(height.0 + 1))
    })
    .unwrap_err();
    assert!(
        matches!(error, FollowError::OtherHeight { .. }),
        "{error:?}"
    );
    assert!(error.is_lie());
}

#[test]
fn what_is_too_old_or_from_the_future_is_not_believed() {
    let chain = Chain::new(40, |_| keys(1, 4));
    let at = |now: u64, trusting_period_ms: u64| {
        let clock = Clock {
            now: TimestampMs(now),
            trusting_period_ms,
        };
        follow(chain.trusted(), chain.last(), &clock, |_| Err("nobody"))
    };
    // The genesis is of time 1, the last header of 40,000.
    assert!(at(50_001, 50_000).is_ok());
    let expired = at(50_002, 50_000).unwrap_err();
    assert!(
        matches!(expired, FollowError::Expired { age_ms: 50_001, .. }),
        "{expired}"
    );
    assert!(!expired.is_lie());
    let clock_drift_ms = super::super::CLOCK_DRIFT_MS_MAX;
    assert!(clock_drift_ms > 40_000 && at(0, 50_000).is_ok());
    let far = Chain::new(102, |_| keys(1, 4));
    let clock = Clock {
        now: TimestampMs(41_000),
        trusting_period_ms: 50_000,
    };
    let future = follow(far.trusted(), far.last(), &clock, |_| Err("nobody")).unwrap_err();
    assert!(
        matches!(
            future,
            FollowError::FromFuture {
                ahead_ms: 61_000,
                ..
            }
        ),
        "{future}"
    );
}

/// A checkpoint is its hash: from there on all is as from the genesis.
#[test]
fn a_block_is_trusted_by_its_hash() {
    let chain = Chain::new(200, rotating);
    let block = chain.at(150);
    let checkpoint = Checkpoint {
        height: Height(150),
        hash: block.header.hash(),
    };
    assert_eq!(checkpoint.to_string().parse(), Ok(checkpoint));
    for wrong in ["150", "150:", ":ab", "150:abcdef01", "x:y"] {
        assert!(wrong.parse::<Checkpoint>().is_err(), "{wrong}");
    }
    let trusted = Trusted::block(checkpoint, block.clone()).unwrap();
    let (followed, fetched) = follow_to_the_end(&chain, trusted.clone());
    assert_eq!(followed.unwrap().trusted.height(), Height(200));
    assert!(fetched.iter().all(|height| *height > 150), "{fetched:?}");

    let other = Trusted::block(checkpoint, chain.at(151)).unwrap_err();
    assert!(matches!(other, LightError::OtherBlock { .. }), "{other}");
    let mut with_other_set = block;
    with_other_set.validators = set_of(&keys(1, 4));
    let other = Trusted::block(checkpoint, with_other_set).unwrap_err();
    assert!(
        matches!(other, LightError::OtherValidators { .. }),
        "{other}"
    );
    let behind = trusted.verify(chain.at(149)).unwrap_err();
    assert!(matches!(behind, LightError::NotAhead { .. }), "{behind}");
}
