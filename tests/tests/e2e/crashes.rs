//! Nodes that die: with four validators one may, two stop the chain and nothing is undone, and four at once lose
//! nothing that was acknowledged.

use crate::{
    load::Load,
    net::{Acknowledged, Net},
    program::text,
    wait::eventually,
};
use serde_json::Value;
use std::fs;

#[test]
fn one_of_four_may_die_and_two_stop_the_chain_until_one_is_back() {
    let net = Net::up();
    net.kill("node3");
    let with_three = net.transfer("alice", "bob", 1);
    net.kill("node2");

    let waits = net.fails("tx transfer alice bob 2 --timeout 2", 1, "timeout");
    assert_eq!(waits["status"], "pending", "{waits}");
    let id = text(&waits, "id");
    let still = net.ok(&format!("query tx {id}"));
    assert_eq!(still["status"], "pending", "{still}");

    eventually("node0 says that the chain stands still", || {
        let status = net.ok("testnet status");
        let node = &status["nodes"][0];
        let says = node["stands_still_seconds"].is_u64() && node["ready"] == false;
        says.then_some(()).ok_or_else(|| status.to_string())
    });

    net.start("node2");
    let committed = eventually("the transaction that waited is final", || {
        let found = net.ok(&format!("query tx {id}"));
        let is_final = found["status"] == "committed";
        is_final
            .then(|| Acknowledged::of(&found))
            .ok_or_else(|| found.to_string())
    });
    net.start("node3");
    let after = net.transfer("alice", "bob", 4);
    net.assert_agreement(after.height, 4);
    net.assert_kept(&[with_three, committed, after]);
    assert_eq!(net.ok("query account bob")["balance"], 1_000_007);
}

#[test]
fn nothing_acknowledged_is_lost_when_all_nodes_are_killed_under_load() {
    let net = Net::empty();
    // With snapshots on the way, so that the nodes start from one.
    net.ok("testnet --detach --snapshot-interval 50");
    let chain = net.status()["chain_id"].clone();
    let mut kept: Vec<Acknowledged> = Vec::new();
    for _ in 0..2 {
        let load = Load::on(&net);
        load.wait_for(50);
        net.kill_all();
        kept.extend(load.finish());

        let up = net.ok("testnet --detach");
        assert_eq!(up["chain_id"], chain, "{up}");
        let highest = kept.iter().map(|a| a.height).max().unwrap();
        net.assert_agreement(highest, 4);
        net.assert_kept(&kept);
        // And it goes on.
        kept.push(net.transfer("alice", "bob", 1));
    }
    let accounts = ["alice", "bob", "carol", "dave"];
    let balances = accounts.map(|name| {
        let account = net.ok(&format!("query account {name}"));
        account["balance"].as_u64().unwrap()
    });
    assert_eq!(balances.iter().sum::<u64>(), 4_000_000, "{balances:?}");
}

#[test]
fn a_node_is_added_and_another_killed_and_started_under_load() {
    let net = Net::up();
    let load = Load::on(&net);
    load.wait_for(20);
    let added = net.ok("testnet add late --sync blocks");
    assert_eq!(text(&added, "name"), "late", "{added}");
    net.kill("node3");
    load.wait_for(20);
    net.start("node3");
    load.wait_for(20);
    let acknowledged = load.finish();
    let highest = acknowledged.iter().map(|a| a.height).max().unwrap();
    net.assert_agreement(highest, 5);
    net.assert_kept(&acknowledged);
}

#[test]
fn a_validator_whose_folder_was_wiped_votes_again() {
    let net = Net::up();
    net.transfer("alice", "bob", 1);
    net.ok("testnet stop node3");
    wipe(&net, "node3");
    net.start("node3");
    net.wait_for_vote_of("node3");
    // Of four, three are needed: so node3 must vote when another is dead.
    net.kill("node0");
    let without = net.transfer("alice", "bob", 1);
    net.start("node0");
    net.assert_agreement(without.height, 4);
}

/// Removes all of a node but its key.
pub fn wipe(net: &Net, node: &str) {
    for entry in fs::read_dir(net.dir().join(node)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        let path = entry.path();
        match name.to_str() {
            Some("key") => {}
            _ if path.is_dir() => fs::remove_dir_all(path).unwrap(),
            _ => fs::remove_file(path).unwrap(),
        }
    }
    assert_eq!(net.node(node)["state"], Value::from("stopped"));
}
