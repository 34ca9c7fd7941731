//! A node that came by a snapshot fetches the blocks from before it, and then has the same history as the others; one that
//! does not says plainly where its history begins.

use super::net::{Net, folders, wait_for};
use ledger::{
    codec,
    genesis::Parameters,
    store::LogReader,
    transaction::{Operation, Proposal, SignedTransaction, Transaction},
    units::{Height, Nonce},
};
use node::{
    audit::verify_ledger,
    config::{Config, NodeDir, SyncMode},
    runtime,
};
use serde_json::{Value, json};
use std::fs;

/// A node that is no validator, beside that of `dir`, which is to come by a snapshot.
pub fn newcomer(dir: &NodeDir, backfill: bool) -> NodeDir {
    let new = NodeDir::new(dir.path().with_file_name("newcomer"));
    fs::create_dir(new.path()).unwrap();
    new.create_identity().unwrap();
    fs::copy(dir.genesis_file(), new.genesis_file()).unwrap();
    let mut config = Config::named("newcomer");
    config.p2p.peers = dir.config().unwrap().p2p.listen;
    config.sync.mode = SyncMode::Snapshot;
    config.sync.backfill = backfill;
    config.timing.idle_block_interval_ms = 20;
    new.write_config(&config).unwrap();
    new
}

/// The one validator's first transaction, of whatever kind.
fn send(net: &Net, dir: &NodeDir) -> String {
    let key = dir.key().unwrap();
    let genesis = dir.genesis().unwrap();
    let parameters = Parameters {
        operations_max: 7,
        ..genesis.parameters
    };
    let transaction = Transaction {
        chain: genesis.chain_id(),
        sender: key.public_key(),
        nonce: Nonce(0),
        last_valid: Height(1_000_000),
        operations: vec![Operation::Approve {
            proposal: Proposal::Parameters(parameters),
        }],
    };
    let signed: SignedTransaction = transaction.sign(&key);
    let body = json!({ "transaction": hex::encode(codec::encode(&signed)) });
    let answer = net.post(0, "/v1/transactions", &body).unwrap();
    answer["id"].as_str().unwrap().to_owned()
}

fn document(net: &Net, node: usize, path: &str) -> Value {
    let text = net.any_text(node, path);
    serde_json::from_str(&text).unwrap()
}

/// What both have of a block, but for the certificate that each has of the last one.
fn payloads(dir: &NodeDir, to: u64) -> Vec<(u64, Vec<u8>)> {
    let (log, _) = LogReader::open(&dir.ledger()).unwrap();
    let records = log.iter_from(Height(1)).map(Result::unwrap);
    let records = records.take_while(|record| record.height.0 < to);
    records.map(|r| (r.height.0, r.payload)).collect()
}

#[test]
fn a_node_that_came_by_a_snapshot_fetches_what_was_before() {
    let folder = tempfile::tempdir().unwrap();
    let (mut dirs, _) = folders(folder.path(), 1);
    let net = Net::start(&dirs, |_, _| {});
    let id = send(&net, &dirs[0]);
    wait_for("the transaction is final", || {
        let found = document(&net, 0, &format!("/v1/transactions/{id}"));
        (found["status"] == "committed").then_some(())
    });
    net.reach(0, 45);
    wait_for("a snapshot", || {
        (document(&net, 0, "/v1/snapshots")["snapshots"][0]["height"].as_u64()? >= 40).then_some(())
    });
    net.stop();

    dirs.push(newcomer(&dirs[0], true));
    let net = Net::start(&dirs, |_, _| {});
    let status = wait_for("the newcomer has all blocks", || {
        let status = net.status(1)?;
        (status["backfill"]["earliest"] == 1).then_some(status)
    });
    assert_eq!(status["backfill"]["target"], 1, "{status}");
    assert_eq!(status["earliest_block"], 1, "{status}");
    assert_eq!(net.status(0).unwrap()["backfill"], Value::Null);
    for path in ["/v1/blocks/1".to_owned(), format!("/v1/transactions/{id}")] {
        let (here, there) = (document(&net, 1, &path), document(&net, 0, &path));
        assert_eq!(here, there, "{path}");
    }
    let metrics = net.text(1, "/metrics").unwrap();
    assert!(metrics.contains("tintype_earliest_block 1\n"), "{metrics}");
    net.stop();

    // It came by a snapshot, and the whole history is right all the same.
    let first_snapshot = 40;
    let (theirs, ours) = (
        payloads(&dirs[0], first_snapshot),
        payloads(&dirs[1], first_snapshot),
    );
    assert_eq!(ours.len(), 39);
    let of = |payload: &[u8]| {
        codec::decode_unchecked::<ledger::block::CommittedBlock>(payload, 1 << 20).unwrap()
    };
    for ((height, ours), (_, theirs)) in ours.iter().zip(&theirs) {
        assert_eq!(of(ours).block, of(theirs).block, "{height}");
    }
    let report = verify_ledger(&dirs[1], &|_, _| {}).unwrap();
    assert!(report.fault.is_none(), "{:?}", report.fault);
    assert_eq!(
        (report.from, report.executed_from),
        (Height(1), Some(Height(1)))
    );
    assert!(report.unchecked.is_empty(), "{:?}", report.unchecked);

    // And after a restart, and without its index, which is made anew from the whole log.
    fs::remove_dir_all(dirs[1].index()).unwrap();
    runtime::recover(dirs[1].clone()).unwrap();
    let net = Net::start(&dirs, |_, _| {});
    let found = document(&net, 1, &format!("/v1/transactions/{id}"));
    assert_eq!(found["status"], "committed", "{found}");
    net.stop();
}

#[test]
fn a_node_without_older_blocks_says_where_its_history_begins() {
    let folder = tempfile::tempdir().unwrap();
    let (mut dirs, _) = folders(folder.path(), 1);
    let net = Net::start(&dirs, |_, _| {});
    net.reach(0, 25);
    net.stop();
    dirs.push(newcomer(&dirs[0], false));
    let net = Net::start(&dirs, |_, _| {});
    let earliest = wait_for("the newcomer follows", || {
        net.status(1)?["earliest_block"].as_u64()
    });
    assert!(earliest > 10, "{earliest}");
    for path in ["/v1/blocks/1", "/v1/roots/1"] {
        let answer = document(&net, 1, path);
        assert_eq!(answer["error"]["code"], "pruned", "{path}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(
            message.contains(&format!("before height {earliest}")),
            "{path}: {message}"
        );
    }
    net.stop();
}
