//! A node whose state has gone astray, among three that are right: it is started with a state that a memory fault might
//! have left. It must find out at the first block, say so and stop voting; the others must go on, and say who differs,
//! and where, and in which entries.

use super::net::{ALICE, LIMIT, Net, folders, wait_for};
use ledger::{
    codec,
    state::{
        State,
        entries::{Account, Entry},
        tree::{
            Change, Difference, Op, Part, PlaceRange, Prefix, RANGE_PROOF_BYTES_MAX, RangeProof,
        },
    },
    units::Amount,
};
use node::{api::types, runtime::Recovered};
use snapshot::pinpoint::{Claimed, Holder, Lie, decode_parts, pinpoint};

const NODES: usize = 4;

/// The state with one more coin in alice's account than there is.
fn spoil(recovered: &mut Recovered) {
    let state = State::genesis(&recovered.genesis).unwrap();
    let account = Account {
        balance: Amount(1_001),
        ..state.account(&ALICE).unwrap()
    };
    let key = Account::key(&ALICE);
    let (key_bytes, value) = (key.encode(), codec::encode(&account));
    let mut tree = state.tree().clone();
    tree.apply(&[Change {
        place: key.place(),
        op: Op::Put {
            key: &key_bytes,
            value: &value,
        },
    }])
    .unwrap();
    recovered.state = Some(State::from_tree(state.height(), tree).unwrap());
}

/// A node's state of height 1, asked for over HTTP.
struct Asked<'a>(&'a Net, usize);

impl Asked<'_> {
    fn read<T: serde::de::DeserializeOwned>(&self, what: &str) -> T {
        let path = format!("/v1/states/1/{what}");
        let text = self.0.text(self.1, &path);
        serde_json::from_str(&text.unwrap_or_default()).unwrap()
    }
}

impl Holder for Asked<'_> {
    type Error = Lie;

    fn parts(&self, below: &Prefix) -> Result<Vec<Part>, Lie> {
        let (prefix, bits) = (below.bits(), below.bit_count());
        let answer: types::StateParts = self.read(&format!("parts?prefix={prefix}&bits={bits}"));
        Ok(decode_parts(&hex::decode(answer.parts_hex).unwrap()).unwrap())
    }

    fn entries(&self, PlaceRange { from, to }: PlaceRange) -> Result<RangeProof, Lie> {
        let answer: types::StateRange = self.read(&format!("entries?from={from}&to={to}"));
        let proof = hex::decode(answer.proof).unwrap();
        Ok(codec::decode(&proof, RANGE_PROOF_BYTES_MAX).unwrap())
    }

    fn lied(&self, lie: Lie) -> Lie {
        lie
    }
}

/// In which entries two nodes differ at height 1: balances of accounts.
fn differences(net: &Net, left: usize, right: usize) -> Vec<(Vec<u8>, u64, u64)> {
    let (left, right) = (Asked(net, left), Asked(net, right));
    let claimed = |holder: &Asked<'_>| {
        let parts: types::StateParts = holder.read("parts");
        parts.state_root
    };
    let (old, new) = (claimed(&left), claimed(&right));
    let (old, new) = (
        Claimed {
            root: old,
            holder: &left,
        },
        Claimed {
            root: new,
            holder: &right,
        },
    );
    let mut found = Vec::new();
    let balance = |value: &[u8]| codec::decode::<Account>(value, 1 << 10).unwrap().balance.0;
    pinpoint(&old, &new, |Difference { old, new, .. }| {
        let (old, new) = (old.unwrap(), new.unwrap());
        found.push((old.key.to_vec(), balance(old.value), balance(new.value)));
    })
    .unwrap();
    found
}

#[test]
fn a_spoilt_state_is_found_at_the_first_block_and_everyone_says_who_and_where() {
    let folder = tempfile::tempdir().unwrap();
    let (dirs, keys) = folders(folder.path(), NODES);
    let spoilt = 3;
    let net = Net::start(&dirs, |i, recovered| {
        if i == spoilt {
            spoil(recovered);
        }
    });
    let events = net.alarm_event(0);

    let status = wait_for("the alarm of the spoilt node", || {
        net.status(spoilt).filter(|s| !s["alarm"].is_null())
    });
    assert_eq!(status["height"], 0, "it goes no further: {status}");
    assert_eq!(status["ready"], false, "{status}");

    let event = events.recv_timeout(LIMIT).unwrap();
    assert_eq!(event["alarm"], "peer_differs", "{event}");
    assert_eq!(event["subject"], keys[spoilt].to_string(), "{event}");
    assert_eq!(event["height"], 1, "{event}");
    assert_ne!(event["here"], event["theirs"], "{event}");
    for node in 0..NODES {
        wait_for("an alarm in the metrics", || {
            net.text(node, "/metrics")?
                .contains("tintype_alarms_total 1\n")
                .then_some(())
        });
    }

    let height = |node| net.status(node).and_then(|s| s["height"].as_u64());
    wait_for("the others to go on", || {
        (0..spoilt)
            .all(|node| height(node) >= Some(5))
            .then_some(())
    });
    assert_eq!(height(spoilt), Some(0));

    // Also when the chain has gone on for so long that nobody would have that state any more.
    let gone = format!("/v1/accounts/{ALICE}?height=2");
    wait_for("the next state to be let go", || {
        net.text(0, &gone).is_none().then_some(())
    });
    for node in [0, spoilt] {
        assert_eq!(net.status(node).unwrap()["disputed"], 1);
    }
    let alice = Account::key(&ALICE).encode();
    assert_eq!(differences(&net, 0, spoilt), [(alice, 1_000, 1_001)]);
    net.stop();
}
