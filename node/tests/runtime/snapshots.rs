//! Which snapshots are there, whatever changes on a running chain or between two starts; and that a start executes the
//! blocks after the newest whole one, and no more.

use super::net::{Net, folders, wait_for};
use ledger::{
    codec,
    genesis::Parameters,
    keys::SecretKey,
    transaction::{Operation, Proposal, SignedTransaction, Transaction},
    units::{Height, Nonce},
};
use node::{config::NodeDir, runtime};
use serde_json::{Value, json};
use snapshot::{manifest::Manifest, store::Store};
use std::{collections::BTreeSet, fs, sync::Arc};
use tempfile::TempDir;

/// A chain of one validator with these settings, not yet running.
pub fn chain(keep: u32) -> (TempDir, NodeDir) {
    let folder = tempfile::tempdir().unwrap();
    let (mut dirs, _) = folders(folder.path(), 1);
    let dir = dirs.remove(0);
    set_keep(&dir, keep);
    (folder, dir)
}

fn set_keep(dir: &NodeDir, keep: u32) {
    let mut config = dir.config().unwrap();
    config.snapshots.keep = keep;
    dir.write_config(&config).unwrap();
}

/// The heights of the snapshots that a running node lists, newest first.
pub fn listed(net: &Net) -> Vec<u64> {
    let text = net.text(0, "/v1/snapshots").unwrap();
    let list: Value = serde_json::from_str(&text).unwrap();
    let all = list["snapshots"].as_array().unwrap();
    all.iter().map(|s| s["height"].as_u64().unwrap()).collect()
}

/// The chunks that the snapshots of a stopped node need.
fn needed(dir: &NodeDir) -> BTreeSet<String> {
    let store = Store::open(&dir.snapshots()).unwrap();
    let manifests = store.manifests();
    let ids = manifests.iter().flat_map(|m| m.chunk_ids());
    ids.map(|id| id.to_string()).collect()
}

fn names(dir: &NodeDir, folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(dir.snapshots().join(folder)).unwrap();
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    entries.map(|entry| name(entry.unwrap())).collect()
}

/// The newest snapshot of a stopped node.
fn newest(dir: &NodeDir) -> Arc<Manifest> {
    let store = Store::open(&dir.snapshots()).unwrap();
    store.manifests().remove(0)
}

/// How high a stopped node comes when it is started, and by how many blocks.
fn replayed(dir: &NodeDir) -> (u64, u64) {
    let recovered = runtime::recover(dir.clone()).unwrap();
    (recovered.state.unwrap().height().0, recovered.replayed)
}

/// Approves other parameters with the one validator's key. Gives the transaction's id.
pub fn approve(net: &Net, dir: &NodeDir, nonce: u64, parameters: Parameters) -> String {
    let key: SecretKey = dir.key().unwrap();
    let transaction = Transaction {
        chain: dir.genesis().unwrap().chain_id(),
        sender: key.public_key(),
        nonce: Nonce(nonce),
        last_valid: Height(1_000_000),
        operations: vec![Operation::Approve {
            proposal: Proposal::Parameters(parameters),
        }],
    };
    let signed: SignedTransaction = transaction.sign(&key);
    let body = json!({ "transaction": hex::encode(codec::encode(&signed)) });
    let answer: Value = net.post(0, "/v1/transactions", &body).unwrap();
    assert!(answer["code"].is_null(), "{answer}");
    answer["id"].as_str().unwrap().to_owned()
}

fn with_interval(dir: &NodeDir, snapshot_interval: u64) -> Parameters {
    Parameters {
        snapshot_interval,
        ..dir.genesis().unwrap().parameters
    }
}

/// From every 10 blocks to every 4, and back to every 25.
#[test]
fn the_interval_changes_on_a_running_chain_and_retention_goes_on() {
    let (_folder, dir) = chain(3);
    let net = Net::start(std::slice::from_ref(&dir), |_, _| {});
    wait_for("the first snapshot", || {
        listed(&net).contains(&10).then_some(())
    });
    approve(&net, &dir, 0, with_interval(&dir, 4));
    let is_of_four = |heights: &[u64]| heights.iter().all(|h| h.is_multiple_of(4));
    let heights = wait_for("three snapshots, four blocks apart", || {
        let heights = listed(&net);
        (heights.len() == 3 && is_of_four(&heights) && heights[0] - heights[2] == 8)
            .then_some(heights)
    });
    assert!(heights[2] > 10, "{heights:?}");

    approve(&net, &dir, 1, with_interval(&dir, 25));
    let changed = wait_for("the change is in force", || {
        let heights = listed(&net);
        heights[0].is_multiple_of(25).then_some(heights[0])
    });
    // What the shorter interval left stays until enough newer ones are there, and goes then.
    let heights = wait_for("a snapshot 25 blocks later", || {
        let heights = listed(&net);
        // One more than is kept is there until those beyond it are removed.
        (heights.contains(&(changed + 25)) && heights.len() == 3).then_some(heights)
    });
    assert_eq!(heights[..2], [changed + 25, changed], "{heights:?}");
    net.stop();
    assert_eq!(names(&dir, "manifests").len(), 3);
    assert_eq!(
        names(&dir, "chunks"),
        needed(&dir),
        "all is whole, and nothing unneeded is there"
    );
    // The next start goes from the newest, whatever the interval was when it was taken.
    let newest = newest(&dir).height().0;
    assert!(
        newest >= changed + 25 && newest.is_multiple_of(25),
        "{newest}"
    );
    let (height, blocks) = replayed(&dir);
    assert_eq!(blocks, height - newest);
}

#[test]
fn a_smaller_or_larger_keep_holds_from_the_next_start_on() {
    let (_folder, dir) = chain(4);
    let one = std::slice::from_ref(&dir);
    let net = Net::start(one, |_, _| {});
    let before = wait_for("four snapshots", || {
        let heights = listed(&net);
        (heights.len() == 4).then_some(heights)
    });
    net.stop();

    // An idle chain from here on: a block that was under way may come, and no more.
    let mut config = dir.config().unwrap();
    config.timing.idle_block_interval_ms = 3_600_000;
    dir.write_config(&config).unwrap();
    set_keep(&dir, 6);
    let net = Net::start(one, |_, _| {});
    let after = listed(&net);
    net.stop();
    // Up to two more may have been on their way when it was stopped.
    assert!(
        after.len() >= 4 && before[..2].iter().all(|h| after.contains(h)),
        "a larger one loses nothing: {before:?}, then {after:?}"
    );

    set_keep(&dir, 2);
    let net = Net::start(one, |_, _| {});
    assert_eq!(
        listed(&net).len(),
        2,
        "a smaller one needs no new snapshot to hold"
    );
    net.stop();
    assert_eq!(names(&dir, "manifests").len(), 2);
    assert_eq!(
        names(&dir, "chunks"),
        needed(&dir),
        "what nothing needs is gone"
    );
}

#[test]
fn a_start_executes_the_blocks_after_the_newest_whole_snapshot_alone() {
    let (_folder, dir) = chain(3);
    let net = Net::start(std::slice::from_ref(&dir), |_, _| {});
    net.reach(0, 45);
    wait_for("the snapshot of 40", || {
        listed(&net).contains(&40).then_some(())
    });
    net.stop();

    let newest = newest(&dir);
    let (height, blocks) = replayed(&dir);
    assert_eq!(blocks, height - newest.height().0);

    // The newest is damaged: from the one before, and ten blocks more.
    let file = dir
        .snapshots()
        .join("manifests")
        .join(newest.id().to_string());
    fs::write(file, "damaged").unwrap();
    assert_eq!(replayed(&dir), (height, blocks + 10));

    fs::remove_dir_all(dir.snapshots()).unwrap();
    assert_eq!(replayed(&dir), (height, height), "from the genesis");
}

/// Each node says, signed, which root it has, at every snapshot height and at no other; and holds what others say against its own.
#[test]
fn roots_are_compared_at_every_snapshot_height() {
    let folder = tempfile::tempdir().unwrap();
    let (dirs, _) = folders(folder.path(), 2);
    let net = Net::start(&dirs, |_, _| {});
    for node in [0, 1] {
        wait_for("two roots that agree", || {
            let agreed = net.metric(node, "attestations_agreed_total");
            // Later: it may have gone on meanwhile.
            let height = net.status(node)?["height"].as_u64()?;
            assert!(agreed <= height / 10, "{agreed} at height {height}");
            (agreed >= 2).then_some(())
        });
    }
    net.stop();
}
