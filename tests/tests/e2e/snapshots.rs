//! Snapshots: taken by every node at the same heights with the same root, and what nodes join and start from.

use crate::{
    crashes::wipe,
    load::Load,
    net::{Acknowledged, Net},
    program::{assert_fields, number, text},
    wait::eventually,
};
use cli::client::Client;
use ledger::genesis::Generated;
use serde_json::Value;
use std::sync::mpsc;

const SNAPSHOT_FIELDS: &str = "height root entries chunks bytes new_bytes";

/// Four validators that take a snapshot every ten blocks.
fn up() -> Net {
    let net = Net::empty();
    net.ok("testnet --detach --snapshot-interval 10");
    net
}

/// Transfers until this height is reached, and gives what was acknowledged.
fn commit_to(net: &Net, height: u64) -> Vec<Acknowledged> {
    let mut all = vec![net.transfer("alice", "bob", 1)];
    while all.last().unwrap().height < height {
        all.push(net.transfer("alice", "bob", 1));
    }
    all
}

/// Waits until a node has a snapshot of this height, and gives its list entry.
fn snapshot_of(net: &Net, node: &str, height: u64) -> Value {
    eventually(&format!("{node} has the snapshot of {height}"), || {
        let list = net.ok(&format!("snapshot list --node {node}"));
        let snapshots = list["snapshots"].as_array().unwrap();
        let found = snapshots.iter().find(|s| s["height"] == height);
        found.cloned().ok_or_else(|| list.to_string())
    })
}

fn api(net: &Net, node: &str, path: &str) -> Value {
    client(net, node).get(path).unwrap()
}

fn client(net: &Net, node: &str) -> Client {
    Client::new(node, text(&net.node(node), "http"))
}

#[test]
fn every_node_takes_the_same_snapshots_and_they_can_be_listed_shown_and_taken() {
    let net = up();
    let (news, heard) = mpsc::channel();
    let listener = client(&net, "node1");
    std::thread::spawn(move || {
        listener.events(|data| {
            let event: Value = serde_json::from_str(data).unwrap();
            event["event"] != "snapshot" || news.send(event).is_ok()
        })
    });
    commit_to(&net, 25);
    for height in [10, 20] {
        let roots = net.ok(&format!("verify roots --height {height}"));
        assert_eq!(roots["nodes"].as_array().map(Vec::len), Some(4), "{roots}");
        assert_eq!(roots["agree"], true, "{roots}");
        for node in ["node0", "node1", "node2", "node3"] {
            let snapshot = snapshot_of(&net, node, height);
            assert_fields(&snapshot, SNAPSHOT_FIELDS);
            assert_eq!(snapshot["root"], roots["root"], "{node}: {snapshot}");
        }
    }
    let event = eventually("node1 tells of a snapshot", || {
        heard.try_recv().map_err(|e| e.to_string())
    });
    assert_fields(&event, SNAPSHOT_FIELDS);

    let taken = net.ok("snapshot take");
    assert_fields(&taken, SNAPSHOT_FIELDS);
    let height = number(&taken, "height");
    assert!(height >= 25, "{taken}");
    let newest = net.ok("snapshot list")["snapshots"][0].clone();
    assert_eq!(newest, taken, "the newest is listed first");
    let shown = net.ok(&format!("snapshot show {height}"));
    assert_eq!(shown["root"], taken["root"], "{shown}");
    let chunks = shown["chunks"].as_array().unwrap();
    assert_fields(&chunks[0], "hash entries bytes");
    let entries: u64 = chunks.iter().map(|chunk| number(chunk, "entries")).sum();
    assert_eq!(entries, number(&taken, "entries"), "{shown}");
    net.fails("snapshot show 3", 3, "not_found");
    let status = net.node("node0");
    assert_fields(&status["snapshot"], "height root");
}

#[test]
fn a_node_joins_from_a_snapshot_under_load_and_becomes_a_validator() {
    let net = up();
    let load = Load::on(&net);
    eventually("the first snapshot is there", || {
        let list = net.ok("snapshot list");
        let any = list["snapshots"].as_array().is_some_and(|s| !s.is_empty());
        any.then_some(()).ok_or_else(|| list.to_string())
    });
    let added = net.ok("testnet add --sync snapshot --validator");
    assert_eq!(text(&added, "name"), "node4", "{added}");
    assert_eq!(added["validator"], true, "{added}");
    let status = api(&net, "node4", "/v1/status");
    let earliest = number(&status, "earliest_block");
    assert!(earliest > 10, "its log begins with the chain's: {status}");
    load.wait_for(20);
    let acknowledged = load.finish();
    let highest = acknowledged.iter().map(|a| a.height).max().unwrap();
    net.assert_agreement(highest, 5);
    net.assert_kept(&acknowledged);
    // Of five, four are needed: so node4 must vote when another is dead.
    net.kill("node0");
    let without = net.transfer("alice", "bob", 1);
    net.start("node0");
    net.assert_agreement(without.height, 5);
}

#[test]
fn a_wiped_validator_follows_by_snapshot_and_votes_again_by_itself() {
    let net = up();
    let early = commit_to(&net, 25);
    snapshot_of(&net, "node0", 20);
    net.ok("testnet stop node3");
    wipe(&net, "node3");
    net.start("node3");
    net.wait_for_vote_of("node3");
    let status = api(&net, "node3", "/v1/status");
    let earliest = number(&status, "earliest_block");
    assert!(earliest > 10, "its log begins with the chain's: {status}");
    let asked = format!("query tx {} --node node3", early[0].id);
    let unknown = net.fails(&asked, 3, "not_found");
    let message = text(&unknown["error"], "message");
    assert!(
        message.contains(&format!("begin at height {earliest}")),
        "{message}"
    );
    let head = net.transfer("alice", "bob", 1).height;
    net.assert_agreement(head, 4);
    // Of four, three are needed: so node3 must vote when another is dead.
    net.kill("node0");
    let without = net.transfer("alice", "bob", 1);
    net.start("node0");
    net.assert_agreement(without.height, 4);
}

#[test]
fn nodes_start_from_their_snapshots_after_kill_9() {
    let net = up();
    let mut kept = commit_to(&net, 25);
    let snapshot = snapshot_of(&net, "node2", 20);
    net.kill_all();
    net.ok("testnet --detach");
    let highest = kept.last().unwrap().height;
    net.assert_agreement(highest, 4);
    net.assert_kept(&kept);
    assert_eq!(snapshot_of(&net, "node2", 20), snapshot);
    kept.extend(commit_to(&net, 31));
    snapshot_of(&net, "node2", 30);
    net.assert_agreement(31, 4);
    let sum = 1_000_000 + kept.len() as u64;
    assert_eq!(net.ok("query account bob")["balance"], sum);
}

#[test]
fn a_testnet_of_any_size_has_its_records_from_the_start() {
    let net = Net::empty();
    net.ok("testnet --detach --validators 1 --entries 1000 --snapshot-interval 10");
    let generated = Generated::of(1_000);
    for number in [0, 999] {
        let record = net.ok(&format!("query record generated {}", generated.key(number)));
        assert_eq!(record["verified"], true, "{record}");
        assert_eq!(record["version"], number + 1, "{record}");
        let value = hex::encode(generated.value(number));
        assert_eq!(record["value_hex"], value, "{record}");
    }
    let beyond = format!("query record generated {}", generated.key(1_000));
    net.fails(&beyond, 3, "not_found");
    // They can be written over, and their space goes on counting.
    let key = generated.key(5);
    net.ok(&format!("tx put generated {key} new --if-version 6"));
    let record = net.ok(&format!("query record generated {key}"));
    assert_eq!(record["version"], 1_001, "{record}");
    let height = commit_to(&net, 10).last().unwrap().height;
    assert!(height >= 10);
    let entries = number(&snapshot_of(&net, "node0", 10), "entries");
    // Records, their space, four accounts and a validator's, parameters and validators.
    assert_eq!(entries, 1_000 + 1 + 5 + 2);
    net.ok("testnet down");
    net.fails("testnet --detach --entries 2000", 1, "other_testnet");
    net.ok("testnet --detach --entries 1000");
    let record = net.ok(&format!("query record generated {key}"));
    assert_eq!(record["version"], 1_001, "{record}");
}

#[test]
fn a_node_that_came_by_a_snapshot_fetches_its_history() {
    let net = up();
    let early = commit_to(&net, 25);
    snapshot_of(&net, "node0", 20);
    // One that does not is asked in vain, and says so.
    net.ok("testnet add --sync snapshot");
    let earliest = number(&api(&net, "node4", "/v1/status"), "earliest_block");
    assert!(earliest > 10, "{earliest}");
    let pruned = net.fails("query block 1 --node node4", 3, "pruned");
    let message = text(&pruned["error"], "message");
    assert!(message.contains(&earliest.to_string()), "{message}");

    // One that is to execute every block does so, although snapshots are offered.
    net.ok("testnet add whole --sync blocks");
    let status = api(&net, "whole", "/v1/status");
    assert_eq!(status["earliest_block"], 1, "{status}");
    assert_eq!(status["origin"]["from"], "genesis", "{status}");
    net.wait_for_line("whole", "configured to execute every block");

    net.ok("testnet add --sync snapshot --backfill");
    eventually("node5 has every block", || {
        let status = api(&net, "node5", "/v1/status");
        let done = status["backfill"]["earliest"] == 1;
        done.then_some(()).ok_or_else(|| status.to_string())
    });
    for kept in &early {
        let found = net.ok(&format!("query tx {} --node node5", kept.id));
        assert_eq!(Acknowledged::of(&found), *kept);
    }
    let audit = net.ok("verify ledger node5");
    assert_eq!(
        (&audit["ok"], number(&audit, "from")),
        (&Value::Bool(true), 1),
        "{audit}"
    );
    // From then on it gives them to others.
    net.kill("node5");
    net.start("node5");
    let block = net.ok("query block 1 --node node5");
    assert_eq!(block["hash"], net.ok("query block 1 --node node0")["hash"]);
}

#[test]
fn a_newcomer_says_that_there_is_no_snapshot_and_executes_every_block() {
    let net = Net::empty();
    net.ok("testnet --detach --validators 1 --snapshot-interval 1000000");
    for (way, node, why) in [
        ("auto", "node1", "no peer has"),
        (
            "snapshot",
            "node2",
            "a snapshot was asked for, and no peer offers one",
        ),
    ] {
        net.ok(&format!("testnet add --sync {way}"));
        let said = net.wait_for_line(node, "starting from the genesis, block by block");
        assert!(said.contains(why), "{said}");
        let status = api(&net, node, "/v1/status");
        assert_eq!(status["earliest_block"], 1, "{status}");
    }
    let head = commit_to(&net, 5).last().unwrap().height;
    net.assert_agreement(head, 3);
}

#[test]
fn the_snapshot_interval_is_changed_on_a_running_chain() {
    let net = up();
    commit_to(&net, 12);
    snapshot_of(&net, "node3", 10);
    net.fails("tx parameter interval 7", 2, "usage");
    net.fails("tx parameter snapshot_interval 0", 2, "usage");
    net.fails("tx parameter snapshot_interval 10", 3, "nothing_to_change");
    let changed = net.ok("tx parameter snapshot_interval 7");
    assert_eq!(changed["status"], "committed", "{changed}");
    let since = number(&changed, "height");
    let due = (since / 7 + 1) * 7;
    commit_to(&net, due);
    for node in ["node0", "node1", "node2", "node3"] {
        let taken = snapshot_of(&net, node, due);
        let root = net.ok(&format!("verify roots --height {due}"));
        assert_eq!(taken["root"], root["root"], "{node}: {taken}");
    }
    // A newcomer finds its way by what is there.
    net.ok("testnet add --sync snapshot");
    let status = api(&net, "node4", "/v1/status");
    assert!(number(&status, "earliest_block") > 10, "{status}");
}

/// A block that is named by its hash is trusted in place of the genesis; one that nobody has keeps a node from starting.
#[test]
fn a_new_node_trusts_the_block_that_its_operator_names() {
    let net = up();
    let early = commit_to(&net, 25);
    snapshot_of(&net, "node0", 20);
    let block = early.iter().find(|a| a.height >= 15).unwrap();
    let (height, hash) = (block.height, &block.block_hash);
    let added = net.ok(&format!(
        "testnet add --sync snapshot --trust {height}:{hash}"
    ));
    assert_eq!(text(&added, "name"), "node4", "{added}");
    let status = api(&net, "node4", "/v1/status");
    let earliest = number(&status, "earliest_block");
    assert!(earliest > height, "it took an older snapshot: {status}");
    net.assert_agreement(25, 5);

    let other = "ab".repeat(32);
    net.fails(
        &format!("testnet add --sync snapshot --trust {height}:{other} --timeout 2"),
        1,
        "timeout",
    );
    eventually("node5 says what is wrong", || {
        let log = net.ok("testnet logs node5 --lines 100").to_string();
        let said = log.contains("another block than the trusted one") && log.contains(hash);
        said.then_some(()).ok_or(log)
    });
    assert_eq!(net.node("node5")["height"], 0);
}
