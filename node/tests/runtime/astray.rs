//! A node whose state has gone astray, among three that are right: it is started with a state that a memory fault might
//! have left. It must find out at the first block, say so and stop voting; the others must go on, and say who differs,
//! and where.

use super::net::{ALICE, LIMIT, Net, folders, wait_for};
use ledger::{
    codec,
    state::{
        State,
        entries::{Account, Entry},
        tree::{Change, Op},
    },
    units::Amount,
};
use node::runtime::Recovered;

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
    net.stop();
}
