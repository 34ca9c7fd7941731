//! Answers are believed by their proofs alone: what is there, what is not, and all of a space.

use super::{keys, sign};
use crate::{
    codec,
    hash::Address,
    light::{AnswerError, LightBlock, Trusted, VerifiedState, records_range},
    state::{
        entries::{Account, Key, Record},
        tree::{EntryRef, PageLimits, Place, Tree},
    },
    units::{Amount, Height, Nonce, Version},
};

fn record(n: u8) -> Record {
    Record {
        value: vec![n; 10],
        version: Version(n.into()),
        writer: Address([n; 32]),
        written_at: Height(n.into()),
    }
}

fn account() -> Account {
    Account {
        balance: Amount(7),
        nonce: Nonce(1),
        entries: 0,
    }
}

/// Two spaces of nine records each, and an account.
fn tree() -> Tree {
    let mut entries = vec![(Key::Account(Address([9; 32])), codec::encode(&account()))];
    for space in ["notes", "other"] {
        entries.extend((1..10).map(|n| {
            let key = Key::Record {
                space: space.into(),
                key: vec![n],
            };
            (key, codec::encode(&record(n)))
        }));
    }
    let mut entries: Vec<_> = entries
        .into_iter()
        .map(|(key, value)| (key.place(), key.encode(), value))
        .collect();
    entries.sort();
    Tree::build(entries.iter().map(|(place, key, value)| EntryRef {
        place: *place,
        key,
        value,
    }))
    .unwrap()
}

/// The state of a tree, believed from a genesis.
fn state_of(tree: &Tree) -> VerifiedState {
    let keys = keys(1, 4);
    let genesis = super::genesis(&keys);
    let mut header = super::header(genesis.chain_id(), 9, &keys);
    header.state_root = tree.root();
    let block = LightBlock {
        certificate: sign(&header, &keys),
        header,
        validators: genesis.validator_set().unwrap(),
    };
    let trusted = Trusted::genesis(&genesis).unwrap().verify(block).unwrap();
    trusted.state().unwrap()
}

fn prove(tree: &Tree, key: &Key) -> Vec<u8> {
    codec::encode(&tree.prove(&key.place()))
}

#[test]
fn what_is_there_and_what_is_not_are_both_proven() {
    let tree = tree();
    let state = state_of(&tree);
    let address = Address([9; 32]);
    let proof = prove(&tree, &Key::Account(address));
    let answer = state.account(&address, &proof).unwrap();
    assert_eq!(answer.value(), &Some(account()));
    assert_eq!(answer.state().height(), Height(9));
    let nobody = Address([8; 32]);
    let absent = prove(&tree, &Key::Account(nobody));
    let answer = state.account(&nobody, &absent).unwrap();
    assert_eq!(answer.into_value(), None);
    // The proof of one is none of the other.
    assert!(state.account(&nobody, &proof).is_err());
    let other_root = state_of(&Tree::default());
    assert!(other_root.account(&address, &proof).is_err());
    assert!(state.account(&address, &proof[1..]).is_err());
}

#[test]
fn a_space_is_listed_page_by_page() {
    let tree = tree();
    let state = state_of(&tree);
    let limits = PageLimits {
        entries: 4,
        bytes: u64::MAX,
    };
    let page_after = |after: Option<&Place>| {
        let range = records_range("notes", after).unwrap();
        let proof = codec::encode(&tree.prove_range(range, limits));
        state.records("notes", after, &proof).unwrap().into_value()
    };
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = page_after(after.as_ref());
        all.extend(page.records);
        after = page.more_after;
        if after.is_none() {
            break;
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    let expected: Vec<_> = (1..10).map(|n| (vec![n], record(n))).collect();
    assert_eq!(all, expected);

    // A page passes for no other: not for the whole, not for what comes after another place, not for another space.
    let first = page_after(None);
    let last = first.more_after.unwrap();
    let range = records_range("notes", Some(&last)).unwrap();
    let second = codec::encode(&tree.prove_range(range, limits));
    assert!(matches!(
        state.records("notes", None, &second),
        Err(AnswerError::Range(_))
    ));
    assert!(state.records("other", None, &second).is_err());
    // That a space has none is proven too.
    let range = records_range("empty", None).unwrap();
    let none = codec::encode(&tree.prove_range(range, limits));
    let none = state.records("empty", None, &none).unwrap().into_value();
    assert_eq!((none.records.len(), none.more_after), (0, None));
}

/// A page that shows nothing, and says that there is more, would be asked for for ever.
#[test]
fn a_page_that_leads_nowhere_is_refused() {
    let tree = tree();
    let state = state_of(&tree);
    let range = records_range("notes", None).unwrap();
    // Nothing lies between the first place of the space and its first record: a true proof of that much.
    let mut places = tree.iter().map(|entry| entry.place);
    let first = places.find(|place| range.contains(place)).unwrap();
    let mut short = range;
    short.to = first;
    let byte = short.to.0.iter().rposition(|b| *b > 0).unwrap();
    short.to.0[byte] -= 1;
    let limits = PageLimits {
        entries: 9,
        bytes: u64::MAX,
    };
    let proof = codec::encode(&tree.prove_range(short, limits));
    let refused = state.records("notes", None, &proof).unwrap_err();
    assert!(matches!(refused, AnswerError::EmptyPage), "{refused}");
}
