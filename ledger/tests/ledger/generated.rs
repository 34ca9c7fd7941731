//! The records that a genesis generates are the same on every machine, and make the very state that writing them one
//! after the other would have made.

use crate::samples::{address, genesis};
use ledger::{
    genesis::{Generated, Genesis},
    state::{
        State,
        entries::{Account, Entry, Record, Space},
        tree::{Change, Op, Tree},
    },
    units::{Height, Version},
};

fn generating(seed: u64, count: u64) -> Genesis {
    let generated = Some(Generated { seed, count });
    Genesis {
        generated,
        ..genesis()
    }
}

fn put<E: Entry>(tree: &mut Tree, name: &E::Name, entry: &E) {
    let key = E::key(name);
    let (encoded, value) = (key.encode(), ledger::codec::encode(entry));
    let op = Op::Put {
        key: &encoded,
        value: &value,
    };
    let place = key.place();
    tree.apply(&[Change { place, op }]).unwrap();
}

/// Entry by entry: nothing in common with the parts and the threads of the code.
fn reference(seed: u64, count: u64) -> Tree {
    let (owner, generated) = (address(20), Generated { seed, count });
    let mut tree = State::genesis(&genesis()).unwrap().tree().clone();
    let before = State::genesis(&genesis()).unwrap().account(&owner).unwrap();
    let account = Account {
        entries: count + 1,
        ..before
    };
    put(&mut tree, &owner, &account);
    let space = Space {
        owner,
        writers: vec![],
        changes: count,
    };
    put(&mut tree, "generated", &space);
    for number in 0..count {
        let name = ("generated".to_owned(), generated.key(number).into_bytes());
        let record = Record {
            value: generated.value(number).to_vec(),
            version: Version(number + 1),
            writer: owner,
            written_at: Height(0),
        };
        put(&mut tree, &name, &record);
    }
    tree
}

#[test]
fn the_state_is_that_of_records_written_one_by_one() {
    // One, a few, and several groups that are made side by side.
    for (seed, count) in [(0, 1), (0, 2), (9, 1_000), (9, 70_000)] {
        let state = State::genesis(&generating(seed, count)).unwrap();
        assert_eq!(
            state.root(),
            reference(seed, count).root(),
            "{seed} {count}"
        );
    }
}

/// Keys and values by a Python program that knows `docs/formats.md` alone.
#[test]
fn keys_values_and_roots_are_pinned() {
    let generated = Generated::of(1_000);
    assert_eq!(generated.key(0), "edb96164f14cc42b1d53a43420c812ba");
    assert_eq!(generated.key(999), "176dc27731e1d38e7007f0cde174c5da");
    assert_eq!(
        hex::encode(generated.value(999)),
        "1528749114e2c4249450ecb1e1b9e55170fe0b4a22d40d72cfad2d45dc0cc34947a4aa7c1cc9bded4f31bdf8befe4c2f"
    );
    let genesis = generating(0, 1_000);
    let state = State::genesis(&genesis).unwrap();
    assert_eq!(
        state.root().to_string(),
        "6e27512e045f0a0556a61d49f2897b76edc5ac033c9a8bc6530cc53f7e0e7578"
    );
    assert_eq!(
        genesis.chain_id().to_string(),
        "6b7a9839c891b11f7d2cf30cfb3543d23cc516ec7abf9e6164b4c3ce5c375f6d"
    );
}

#[test]
fn they_are_records_like_any_other() {
    let genesis = generating(3, 500);
    let state = State::genesis(&genesis).unwrap();
    let space = state.space(Generated::SPACE).unwrap();
    assert_eq!((space.owner, space.changes), (address(20), 500));
    assert_eq!(state.account(&address(20)).unwrap().entries, 501);
    let generated = genesis.generated.unwrap();
    let record = |number| {
        let key = generated.key(number);
        assert_eq!(key.len(), 32);
        state.record(Generated::SPACE, key.as_bytes())
    };
    for number in 0..500 {
        let record = record(number).unwrap();
        assert_eq!(record.version, Version(number + 1));
        assert_eq!(record.value, generated.value(number));
    }
    assert_eq!(record(500), None);
}

#[test]
fn the_file_says_them_in_two_numbers_and_reads_back() {
    let genesis = generating(u64::MAX, 1_000_000);
    let text = genesis.to_json();
    assert!(text.len() < 4_000, "{} bytes", text.len());
    let read = Genesis::from_json(text.as_bytes()).unwrap();
    assert_eq!(read, genesis);
    assert_eq!(read.chain_id(), genesis.chain_id());
    // Seed and count are under the chain's id, and nothing is where there are none.
    let number = |bytes: u8| [[bytes; 8], [bytes; 8]].concat();
    let encoded = ledger::codec::encode(&generating(0x0101_0101_0101_0101, 0x0101_0101_0101_0101));
    let plain = ledger::codec::encode(&crate::samples::genesis());
    assert_eq!(encoded, [&plain[..], &[1], &number(1)].concat());
    let ids = [generating(0, 5), generating(1, 5), generating(0, 6)].map(|g| g.chain_id());
    assert!(ids[0] != ids[1] && ids[0] != ids[2] && ids[0] != crate::samples::genesis().chain_id());
}
