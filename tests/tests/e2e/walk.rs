//! The README's five minutes, with `--json`: every command does what is promised and has every field that the interface
//! lists.

use crate::{
    net::{Acknowledged, Net},
    program::{Program, assert_fields, number, text, words},
    wait::eventually,
};
use serde_json::Value;

const TX_FIELDS: &str = "id status code message height block_hash state_root elapsed_ms";

#[test]
fn the_five_minutes_of_the_readme() {
    let net = Net::empty();
    let up = net.ok("testnet --detach");
    the_status_is_whole(&up);

    let sent = net.ok("tx transfer alice bob 5");
    assert_fields(&sent, TX_FIELDS);
    assert_eq!(sent["code"], Value::Null, "{sent}");
    balances(&net, &sent);
    records(&net);
    blocks(&net, &Acknowledged::of(&sent));
    keys(&net);
    chain(&net, &Acknowledged::of(&sent));

    let head = net.transfer("alice", "bob", 1).height;
    net.assert_agreement(head, 4);
    let roots = net.ok("verify roots");
    assert_fields(&roots, "height agree root nodes");
    assert_fields(&roots["nodes"][0], "name root");
    assert_fields(&net.ok("snapshot list"), "snapshots");
    assert_eq!(net.ok("doctor")["ok"], true);

    net.kill("node3");
    assert_eq!(net.node("node3")["state"], "stopped");
    let while_dead = net.transfer("alice", "bob", 1);
    net.start("node3");
    net.assert_agreement(while_dead.height, 4);

    net.ok("testnet down");
    let processes = net.processes();
    assert!(processes.is_empty(), "{processes:?}");
    let ledger = net.ok("verify ledger node0");
    assert_fields(&ledger, "blocks from to ok error");
    assert_eq!(
        (&ledger["ok"], &ledger["from"]),
        (&Value::Bool(true), &Value::from(1)),
        "{ledger}"
    );
    net.fails("tx transfer alice bob 1", 5, "unreachable");
    let down = net.status();
    assert_eq!(down["agreement"], Value::Null, "{down}");
    assert_eq!(down["nodes"][0]["state"], "stopped", "{down}");
}

#[test]
fn the_bench_measures_and_loses_nothing() {
    let net = Net::up();
    let report = net.ok("bench --seconds 2 --rate 100 --accounts 8");
    assert_fields(
        &report,
        "offered_per_second submitted committed lost seconds committed_per_second latency_ms ceiling_per_second \
         fraction_of_ceiling validators roots_equal",
    );
    assert_fields(&report["latency_ms"], "p50 p90 p99");
    // As many as a busy machine gets to offer in the time: never more.
    let submitted = number(&report, "submitted");
    assert!((1..=200).contains(&submitted), "{report}");
    assert_eq!(report["lost"], 0, "{report}");
    assert_eq!(report["committed"], report["submitted"], "{report}");
    assert_eq!(report["validators"], 4, "{report}");
}

fn the_status_is_whole(status: &Value) {
    assert_fields(status, "chain_id dir agreement nodes");
    assert_fields(&status["agreement"], "height root agree nodes");
    let nodes = status["nodes"].as_array().unwrap();
    let names: Vec<&str> = nodes.iter().map(|node| text(node, "name")).collect();
    assert_eq!(names, ["node0", "node1", "node2", "node3"]);
    for node in nodes {
        assert_fields(
            node,
            "name pid state validator http p2p peers height block_hash state_root snapshot sync",
        );
        assert_eq!(node["state"], "running", "{node}");
        assert_eq!(node["validator"], true, "{node}");
    }
}

fn balances(net: &Net, sent: &Value) {
    let bob = net.ok("query account bob");
    assert_fields(
        &bob,
        "name address balance nonce height state_root verified",
    );
    assert_eq!(
        (&bob["balance"], &bob["verified"]),
        (&Value::from(1_000_005), &Value::Bool(true)),
        "{bob}"
    );
    let before = number(sent, "height") - 1;
    let earlier = net.ok(&format!("query account bob --height {before}"));
    assert_eq!(earlier["balance"], 1_000_000, "{earlier}");
    let address = text(&bob, "address");
    let by_prefix = net.ok(&format!("query account {}", &address[..8]));
    assert_eq!(by_prefix["address"], bob["address"]);
    net.fails("query account nobody", 3, "not_found");
    net.fails(&format!("query account {}", "0".repeat(64)), 3, "not_found");
}

fn records(net: &Net) {
    net.ok("tx space create notes --from alice --writer bob");
    net.ok("tx put notes hello world --from alice");
    let record = net.ok("query record notes hello");
    assert_fields(
        &record,
        "space key value version writer written_at height state_root verified",
    );
    assert_eq!(record["value"], "world", "{record}");
    assert_eq!(record["verified"], true, "{record}");
    let refused = net.fails(
        "tx put notes hello again --from alice --if-version 7",
        3,
        "version_mismatch",
    );
    assert_fields(&refused, TX_FIELDS);
    let version = number(&record, "version");
    let said = text(&refused["error"], "message");
    assert!(said.ends_with(&format!(" {version}")), "{said}");
    net.ok(&format!(
        "tx put notes hello again --from bob --if-version {version}"
    ));
    net.ok("tx delete notes hello --from alice");
    let absent = net.fails("query record notes hello", 3, "not_found");
    assert_eq!(absent["verified"], true, "{absent}");
    spaces(net, number(&record, "height"));
}

/// A space and its records, with the proof that none is left out: now, and at a height at which it had another one.
fn spaces(net: &Net, height: u64) {
    for key in ["one", "two", "three"] {
        net.ok(&format!("tx put notes {key} v-{key} --from bob"));
    }
    let space = net.ok("query space notes");
    assert_fields(
        &space,
        "space owner writers changes height state_root verified",
    );
    assert_eq!(
        (&space["changes"], &space["verified"]),
        (&Value::from(6), &Value::Bool(true)),
        "{space}"
    );
    let keys = |line: &str| {
        let list = net.ok(line);
        assert_fields(&list, "space records height state_root verified complete");
        assert_eq!(
            (&list["verified"], &list["complete"]),
            (&Value::Bool(true), &Value::Bool(true)),
            "{list}"
        );
        let records = list["records"].as_array().unwrap();
        let keys = records.iter().map(|r| text(r, "key").to_owned());
        keys.collect::<Vec<_>>()
    };
    assert_eq!(keys("query space notes --all"), ["one", "three", "two"]);
    let then = format!("query space notes --all --height {height}");
    assert_eq!(keys(&then), ["hello"]);
    let nothing = net.fails("query space nothing --all", 3, "not_found");
    assert_eq!(nothing["verified"], true, "{nothing}");
}

/// The chain is followed from the genesis, and from a block that is trusted by its hash; a wrong hash is found out.
fn chain(net: &Net, sent: &Acknowledged) {
    let report = net.ok("verify chain");
    assert_fields(
        &report,
        "from to hash headers_checked validator_set_changes verified",
    );
    assert_eq!(
        (&report["from"], &report["verified"]),
        (&Value::from(0), &Value::Bool(true)),
        "{report}"
    );
    let nodes = report["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 4, "{report}");
    let trust = format!("{}:{}", sent.height, sent.block_hash);
    let report = net.ok(&format!("verify chain --trust {trust}"));
    assert_eq!(report["from"], sent.height, "{report}");
    let wrong = format!("verify chain --trust {}:{}", sent.height, "ab".repeat(32));
    net.fails(&wrong, 4, "verification_failed");
    net.fails("verify chain --trusting-period 0s", 4, "trust_expired");
}

fn blocks(net: &Net, sent: &Acknowledged) {
    let block = net.ok(&format!("query block {}", sent.height));
    assert_fields(
        &block,
        "height hash parent time proposer state_root transactions certificate",
    );
    assert_eq!(block["transactions"], Value::from(vec![sent.id.as_str()]));
    for name in [&sent.block_hash, &sent.block_hash[..8]] {
        assert_eq!(net.ok(&format!("query block {name}")), block, "by {name}");
    }
    for id in [&sent.id, &sent.id[..8]] {
        let found = net.ok(&format!("query tx {id}"));
        assert_fields(&found, TX_FIELDS);
        assert_eq!(Acknowledged::of(&found), *sent);
        assert_eq!(found["index"], 0, "{found}");
    }
    assert!(number(&net.ok("query block latest"), "height") >= sent.height);
    let validators = net.ok("query validators");
    assert_fields(&validators, "height validators");
    assert_eq!(validators["verified"], true, "{validators}");
    let list = validators["validators"].as_array().unwrap();
    assert_eq!(list.len(), 4, "{validators}");
    assert_fields(&list[0], "name address public_key power");
}

fn keys(net: &Net) {
    let made = net.ok("keys add erin");
    assert_fields(&made, "name address public_key");
    net.fails("tx transfer erin bob 1", 3, "unknown_account");
    net.transfer("alice", "erin", 3);
    net.transfer("erin", "bob", 2);
    assert_eq!(net.ok("query account erin")["balance"], 1);
}

#[test]
fn a_node_that_does_not_vote_takes_transactions_and_becomes_a_validator() {
    let net = Net::up();
    let added = net.ok("testnet add --sync blocks");
    assert_eq!(
        (text(&added, "name"), &added["validator"]),
        ("node4", &Value::Bool(false))
    );
    let sent = Acknowledged::of(&net.ok("tx transfer alice bob 5 --node node4"));
    net.assert_agreement(sent.height, 5);

    net.ok("tx validator add node4");
    eventually("node4 votes", || {
        let node = net.node("node4");
        (node["validator"] == true)
            .then_some(())
            .ok_or_else(|| node.to_string())
    });
    net.fails("tx validator add node4", 3, "nothing_to_change");
    net.fails("keys add node4", 1, "exists");
    net.fails("testnet add alice", 1, "exists");
    // Of five, four are needed: so node4 must vote when another is dead.
    net.kill("node0");
    net.transfer("alice", "bob", 5);
    net.start("node0");
    net.ok("tx validator remove node4");
    let list = net.ok("query validators");
    assert_eq!(
        list["validators"].as_array().map(Vec::len),
        Some(4),
        "{list}"
    );
    // The set that the next change is approved by is that of the change before.
    net.ok("tx validator remove node3");
    net.ok("tx validator remove node2");
    let head = net.transfer("alice", "bob", 5).height;
    net.assert_agreement(head, 5);
    // Of the four of the genesis two are left, whose answers are still tied to it.
    let report = net.ok("verify chain");
    assert!(number(&report, "validator_set_changes") >= 1, "{report}");
    let bob = net.ok("query account bob");
    assert_eq!(bob["verified"], true, "{bob}");
}

#[test]
fn a_paused_node_is_shown_and_catches_up() {
    let net = Net::up();
    assert_eq!(net.ok("testnet pause node2")["state"], "paused");
    assert_eq!(net.node("node2")["state"], "paused");
    let sent = net.transfer("alice", "bob", 1);
    assert_eq!(net.ok("testnet resume node2")["state"], "running");
    net.assert_agreement(sent.height, 4);

    let log = net.ok("testnet logs node2 --lines 5");
    assert_eq!(log["lines"].as_array().map(Vec::len), Some(5), "{log}");
    let escaped = log.to_string().contains("\\u001b");
    assert!(!escaped, "colours in a file: {log}");
    net.fails("testnet logs node9", 3, "not_found");
    net.ok("testnet stop node2");
    net.fails("testnet stop node2", 1, "not_running");
    net.fails("testnet resume node2", 1, "not_running");
    net.fails("tx transfer alice bob 1 --node node2", 5, "not_running");
}

#[test]
fn clients_of_one_account_at_once_all_succeed() {
    let net = Net::up();
    let transfers: Vec<_> = (0..8)
        .map(|index| {
            let line = format!("tx transfer alice bob 1 --node node{} --json", index % 4);
            net.program().start(&words(&line))
        })
        .collect();
    let mut ids: Vec<String> = transfers
        .into_iter()
        .map(|running| Acknowledged::of(&running.document(0)).id)
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 8, "{ids:?}");
    assert_eq!(net.ok("query account alice")["nonce"], 8);
    assert_eq!(net.ok("query account bob")["balance"], 1_000_008);
}

#[test]
fn a_chain_can_be_made_and_run_by_hand() {
    let net = Net::empty();
    let mut peers: Vec<String> = Vec::new();
    let mut folders: Vec<String> = Vec::new();
    for (index, port) in free_ports(8).chunks(2).enumerate() {
        let folder = net.beside(&format!("host{index}"));
        let folder = folder.to_str().unwrap().to_owned();
        let listen = format!("/ip4/127.0.0.1/tcp/{}", port[0]);
        let http = format!("127.0.0.1:{}", port[1]);
        let mut line = vec![
            "init", "--dir", &folder, "--listen", &listen, "--http", &http,
        ];
        line.extend(peers.iter().flat_map(|peer| ["--peer", peer]));
        let made = net.program().json(&line, 0);
        peers.push(format!("{listen}/p2p/{}", text(&made, "peer_id")));
        folders.push(folder);
    }
    let alice = net.ok("keys add alice");
    let account = format!("alice={}=1000", text(&alice, "address"));
    let out = net.dir().join("genesis.json");
    let mut line = vec![
        "genesis",
        "--account",
        &account,
        "--out",
        out.to_str().unwrap(),
    ];
    line.extend(folders.iter().map(String::as_str));
    let chain = net.program().json(&line, 0);
    assert_eq!(chain["validators"], 4, "{chain}");

    let mut nodes: Vec<ByHand> = folders
        .iter()
        .map(|f| ByHand::start(net.program(), f))
        .collect();
    let bob = net.ok("keys add bob");
    let urls: Vec<String> = nodes.iter().map(ByHand::url).collect();
    let sent = eventually("a transaction is final", || {
        let line = [
            "tx", "transfer", "alice", "bob", "7", "--node", &urls[1], "--json",
        ];
        let ran = net.program().run(&line);
        let document: Value = serde_json::from_str(&ran.out).unwrap();
        // The nodes may not have met yet.
        (ran.code == Some(0))
            .then(|| document.clone())
            .ok_or_else(|| document.to_string())
    });
    assert_eq!(text(&sent, "status"), "committed");
    let line = [
        "query",
        "account",
        text(&bob, "address"),
        "--node",
        &urls[3],
        "--json",
    ];
    eventually("the last node has it, with proof", || {
        let ran = net.program().run(&line);
        let found: Value = serde_json::from_str(&ran.out).unwrap();
        let right = found["balance"] == 7 && found["verified"] == true;
        right.then_some(()).ok_or_else(|| found.to_string())
    });
    for node in &mut nodes {
        assert_eq!(node.stop(), Some(0));
    }
}

/// A node run from a terminal of its own.
struct ByHand {
    child: std::process::Child,
    folder: String,
}

impl ByHand {
    fn start(program: &Program, folder: &str) -> Self {
        let log = std::fs::File::create(format!("{folder}/node.log")).unwrap();
        let mut command = program.command(&["node", "--dir", folder]);
        let child = command.stderr(log).spawn().unwrap();
        let folder = folder.to_owned();
        Self { child, folder }
    }

    fn url(&self) -> String {
        eventually("the node says where it is", || {
            let path = format!("{}/run.json", self.folder);
            let info = std::fs::read(path).map_err(|e| e.to_string())?;
            let info: Value = serde_json::from_slice(&info).unwrap();
            Ok(text(&info, "http").to_owned())
        })
    }

    fn stop(&mut self) -> Option<i32> {
        crate::net::send(self.child.id(), rustix::process::Signal::TERM);
        eventually("the node stops", || {
            let ended = self.child.try_wait().unwrap();
            ended
                .map(|status| status.code())
                .ok_or_else(|| "it still runs".into())
        })
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ports that nobody listens on: all held at once, so that they differ.
fn free_ports(count: usize) -> Vec<u16> {
    let bind = |_| std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let held: Vec<_> = (0..count).map(bind).collect();
    held.iter()
        .map(|l| l.local_addr().unwrap().port())
        .collect()
}
