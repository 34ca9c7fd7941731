//! Every refusal has its code and its exit code, says why with the figures that matter, and says what to do.

use crate::{
    net::Net,
    program::{Program, text, words},
};
use serde_json::Value;

/// Checks the document of a failure.
fn refused(document: &Value, code: &str, says: &str) {
    let error = &document["error"];
    assert_eq!(error["code"], code, "{document}");
    let message = text(error, "message");
    assert!(message.contains(says), "{says:?} is not in {message:?}");
    assert!(!text(error, "help").is_empty(), "no help: {document}");
}

#[test]
fn every_refusal_says_why_and_what_to_do() {
    let net = Net::up();
    net.ok("tx space create notes");
    net.ok("tx put notes hello world");
    net.ok("keys add erin");
    net.ok("testnet stop node3");
    let version = net.ok("query record notes hello")["version"].to_string();
    let large = "x".repeat(70_000);
    let cases = [
        // what is typed, exit code, code, what must be in the message
        // (alice's nonce goes up with what is committed without effect: first what tells it)
        (
            "tx transfer alice bob 1 --nonce 0".to_owned(),
            3,
            "stale_nonce",
            "next is 2",
        ),
        (
            "tx transfer alice bob 1 --nonce 900".into(),
            3,
            "future_nonce",
            "next, 2",
        ),
        (
            "tx transfer erin bob 1".into(),
            3,
            "unknown_account",
            "does not exist",
        ),
        (
            "tx transfer mallory bob 1".into(),
            3,
            "not_found",
            "mallory",
        ),
        (
            "tx transfer alice mallory 1".into(),
            3,
            "not_found",
            "mallory",
        ),
        (
            "tx transfer alice bob 1000001".into(),
            3,
            "insufficient_balance",
            "1000000",
        ),
        (
            "tx transfer alice bob 1 --valid-for 0".into(),
            3,
            "expired",
            "valid",
        ),
        (
            "tx put notes hello again --if-version 9".into(),
            3,
            "version_mismatch",
            &version,
        ),
        (
            "tx put notes new x --if-version 9".into(),
            3,
            "version_mismatch",
            "version 0",
        ),
        (
            "tx put notes hello mine --from bob".into(),
            3,
            "not_a_writer",
            "may not write",
        ),
        (
            "tx put nothing hello x".into(),
            3,
            "space_not_found",
            "no such space",
        ),
        (
            "tx delete notes nothing".into(),
            3,
            "record_not_found",
            "no such record",
        ),
        (
            format!("tx put notes big {large}"),
            3,
            "out_of_bounds",
            "65536",
        ),
        (
            "tx transfer alice bob 1 --node http://127.0.0.1:1".into(),
            5,
            "unreachable",
            "127.0.0.1:1",
        ),
        (
            "tx transfer alice bob 1 --node node3".into(),
            5,
            "not_running",
            "node3",
        ),
        (
            "tx transfer alice bob 1 --node node9".into(),
            3,
            "not_found",
            "node9",
        ),
        ("query block 99999".into(), 3, "future_height", "99999"),
        (
            "query record notes nothing".into(),
            3,
            "not_found",
            "nothing",
        ),
        ("query tx 0123456789".into(), 3, "not_found", "0123456789"),
        (
            "verify roots --height 99999".into(),
            3,
            "not_found",
            "99999",
        ),
        ("tx transfer alice bob".into(), 2, "usage", "AMOUNT"),
    ];
    for (line, exit, code, says) in cases {
        refused(&net.program().json(&words(&line), exit), code, says);
    }
    wrong_chain(&net);
    assert_eq!(net.ok("query account alice")["balance"], 1_000_000);
    assert_eq!(net.ok("query record notes hello")["value"], "world");
}

#[test]
fn people_get_tables_and_plain_words() {
    let net = Net::empty();
    net.ok("testnet --detach --validators 1");
    let table = net.run("testnet status");
    let lines: Vec<&str> = table.out.lines().collect();
    let [heads, node0] = lines.as_slice() else {
        panic!("{table:?}");
    };
    let words: Vec<&str> = heads.split_whitespace().collect();
    let expected = "NODE STATE HTTP PEERS HEIGHT TXS STATE-ROOT SNAPSHOT AGREEMENT";
    assert_eq!(words.join(" "), expected);
    assert!(
        node0.starts_with("node0  running  http://127.0.0.1:"),
        "{node0}"
    );
    assert!(
        !table.out.contains('\u{1b}'),
        "colours in a pipe: {table:?}"
    );

    let failed = net.run("tx transfer alice bob 1000001");
    assert_eq!((failed.code, failed.out.as_str()), (Some(3), ""));
    let lines: Vec<&str> = failed.err.lines().collect();
    let is_two = lines.len() == 2;
    assert!(is_two && lines[0].starts_with("error: "), "{failed:?}");
    assert!(is_two && lines[1].starts_with("help: "), "{failed:?}");
}

#[test]
fn what_shows_something_for_ever_ends_when_nobody_reads_it() {
    let net = Net::empty();
    net.ok("testnet --detach --validators 1");
    for line in [
        "testnet status --watch",
        "testnet status --watch --json",
        "testnet logs node0 --follow",
    ] {
        assert_eq!(net.program().head(&words(line)), Some(0), "{line}");
    }
}

/// Keys for one chain, and a node of another.
fn wrong_chain(net: &Net) {
    let url = net.node("node0")["http"].as_str().unwrap().to_owned();
    let dir = net.beside("other");
    let other = Program::on(&dir);
    let node = net.beside("other-node");
    let node = node.to_str().unwrap();
    other.json(&["init", "--dir", node], 0);
    let key = other.json(&["keys", "add", "alice"], 0);
    let account = format!("alice={}=5", text(&key, "address"));
    let genesis = dir.join("genesis.json");
    let out = genesis.to_str().unwrap();
    other.json(&["genesis", node, "--account", &account, "--out", out], 0);
    let line = [
        "tx",
        "transfer",
        "alice",
        text(&key, "address"),
        "1",
        "--node",
        &url,
    ];
    let document = other.json(&line, 3);
    let chain = net.status()["chain_id"].as_str().unwrap()[..12].to_owned();
    refused(&document, "wrong_chain", &chain);
}
