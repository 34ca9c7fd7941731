//! A snapshot in a file: written, checked without a node, compared, and started from. And what a node that is new, or
//! was away, fetches.

use crate::{
    crashes::wipe,
    net::Net,
    program::{number, text, with_json, words},
    wait::eventually,
};
use serde_json::Value;
use std::fs;

/// Four validators that take a snapshot every ten blocks, in a state of some size.
fn up() -> Net {
    let net = Net::empty();
    net.ok("testnet --detach --snapshot-interval 10 --entries 5000");
    net
}

/// Transfers until a node has the snapshot of this height.
fn commit_to_snapshot(net: &Net, node: &str, height: u64) {
    while net.transfer("alice", "bob", 1).height <= height {}
    eventually(&format!("{node} has the snapshot of {height}"), || {
        let list = net.ok(&format!("snapshot list --node {node}"));
        let all = list["snapshots"].as_array().unwrap();
        let there = all.iter().any(|s| s["height"] == height);
        there.then_some(()).ok_or_else(|| list.to_string())
    });
}

#[test]
fn a_snapshot_is_carried_in_a_file_and_a_node_starts_from_it() {
    let net = up();
    commit_to_snapshot(&net, "node0", 10);
    let [old, new] = ["old.tintype", "new.tintype"].map(|name| {
        let path = net.beside(name);
        path.to_str().unwrap().to_owned()
    });
    let export = |height: &str, file: &str| {
        let words = ["snapshot", "export", height, file, "--node", "node0"];
        net.program().json(&words, 0)
    };
    export("10", &old);
    commit_to_snapshot(&net, "node0", 20);
    let exported = export("20", &new);
    assert_eq!(
        (number(&exported, "height"), &exported["verified"]),
        (20, &Value::Bool(true))
    );
    assert!(number(&exported, "entries") > 5_000, "{exported}");
    let size = fs::metadata(&new).unwrap().len();
    assert_eq!(number(&exported, "file_bytes"), size);
    let again = ["snapshot", "export", "20", &*new, "--node", "node0"];
    assert_eq!(net.program().json(&again, 1)["error"]["code"], "exists");

    // Nothing but the file and the genesis is needed, or the hash of the block.
    let verify = |words: &[&str], exit: i32| {
        let words = [&["snapshot", "verify"], words].concat();
        net.program().json(&words, exit)
    };
    assert_eq!(verify(&[&new], 0), exported);
    let block = net.ok("query block 20");
    let trust = format!("20:{}", text(&block, "hash"));
    assert_eq!(verify(&[&new, "--trust", &trust], 0), exported);
    let other = net.ok("query block 19");
    let wrong = format!("20:{}", text(&other, "hash"));
    let refused = verify(&[&new, "--trust", &wrong], 4);
    assert_eq!(refused["error"]["code"], "verification_failed", "{refused}");

    // What differs, from files, from a node, and from both.
    let diff = |a: &str, b: &str| {
        net.program()
            .json(&["snapshot", "diff", a, b, "--node", "node0"], 0)
    };
    let of_files = diff(&old, &new);
    assert_eq!(of_files, diff(&old, "20"));
    assert!(number(&of_files, "changed") > 0, "{of_files}");
    let entries = of_files["entries"].as_array().unwrap();
    let alice = entries.iter().find(|e| e["key"] == "alice").unwrap();
    let nonces = ["left", "right"].map(|side| number(&alice[side], "nonce"));
    assert!(nonces[0] < nonces[1], "{alice}");
    assert_eq!(diff(&new, &new)["equal"], true);

    // A byte that was changed, and a file that was cut short, are found, and the place is told.
    let bad = net.beside("bad.tintype");
    let good = fs::read(&new).unwrap();
    let mut bytes = good.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    let bad_name = bad.to_str().unwrap().to_owned();
    for bytes in [&bytes[..], &good[..good.len() - 1]] {
        fs::write(&bad, bytes).unwrap();
        let refused = verify(&[&bad_name], 4);
        let message = text(&refused["error"], "message");
        assert!(message.contains("chunk"), "{message}");
    }

    // A node whose disk is lost starts from the file.
    let import = |file: &str, exit: i32| {
        net.program()
            .json(&["snapshot", "import", file, "node3"], exit)
    };
    assert_eq!(import(&new, 1)["error"]["code"], "node_running");
    net.ok("testnet stop node3");
    wipe(&net, "node3");
    assert_eq!(import(&bad_name, 4)["error"]["code"], "verification_failed");
    let imported = import(&new, 0);
    assert_eq!(imported["root"], exported["root"]);
    net.start("node3");
    let head = net.transfer("alice", "bob", 1).height;
    net.assert_agreement(head, 4);
    let list = net.ok("snapshot list --node node3");
    assert!(
        list["snapshots"]
            .as_array()
            .unwrap()
            .iter()
            .any(|s| s["height"] == 20),
        "{list}"
    );
    let asked = net.fails("query block 20 --node node3", 3, "pruned");
    assert!(
        text(&asked["error"], "message").contains("21"),
        "history begins after it: {asked}"
    );
    let bob = net.ok("query account bob --height 20 --node node3");
    assert_eq!(
        bob["verified"], true,
        "there is no block, and its header: {bob}"
    );
}

/// The first source that a newcomer hears of stops answering once it has offered its snapshot, before anything is asked of it.
#[test]
fn a_node_arrives_although_a_source_is_stuck_and_fetches_what_changed_while_it_was_away() {
    let net = up();
    for node in ["node0", "node1", "node2", "node3"] {
        commit_to_snapshot(&net, node, 10);
    }
    let others = ["node0", "node1", "node3"];
    // So that the first must be node2.
    for node in others {
        net.ok(&format!("testnet pause {node}"));
    }
    let add = words("testnet add --sync snapshot");
    let adding = net.program().start(&with_json(&add));
    net.wait_for_line("node4", "fetching a snapshot");
    net.ok("testnet pause node2");
    for node in others {
        net.ok(&format!("testnet resume {node}"));
    }
    assert_eq!(adding.document(0)["name"], "node4");
    net.wait_for_line("node4", "the snapshot is here, verified");
    net.ok("testnet resume node2");

    commit_to_snapshot(&net, "node4", 20);
    net.ok("testnet stop node4");
    commit_to_snapshot(&net, "node0", 40);
    net.start("node4");
    let log = net.dir().join("node4").join("node.log");
    let fetched = eventually("node4 has fetched a snapshot", || {
        let text = fs::read_to_string(&log).map_err(|e| e.to_string())?;
        let since = text.split("behind the others").nth(1).unwrap_or_default();
        let here = |line: &&str| line.contains("the snapshot is here, verified");
        let line = since.lines().find(here).map(str::to_owned);
        line.ok_or(text)
    });
    let bytes: u64 = fetched
        .split("fetched_bytes=")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or_else(|| panic!("{fetched}"));
    let shown = net.ok("snapshot show 40 --node node0");
    assert!(
        bytes < number(&shown, "bytes") / 20,
        "{bytes} bytes were fetched of {}",
        shown["bytes"]
    );
    let head = net.transfer("alice", "bob", 1).height;
    net.assert_agreement(head, 5);
}
