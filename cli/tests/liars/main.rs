//! The program against nodes that lie: what it shows as verified is true, and what cannot be verified is not shown unasked.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod chain;
mod comparing;
#[path = "../../src/client/fake/server.rs"]
mod server;

use chain::Chain;
use serde_json::{Value, json};
use std::{process::Command, sync::Arc};
use tempfile::TempDir;

/// A folder with the genesis of a chain, and nodes of it.
struct World {
    chain: Arc<Chain>,
    dir: TempDir,
}

impl World {
    fn new() -> Self {
        let chain = Arc::new(Chain::new());
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("genesis.json"), chain.genesis.to_json()).unwrap();
        Self { chain, dir }
    }

    fn honest(&self) -> String {
        self.chain.serve(|_, _| {})
    }

    /// A node that puts these values at these places of every answer.
    fn says(&self, lies: &[(&str, Value)]) -> String {
        let lies: Vec<(String, Value)> = lies
            .iter()
            .map(|(place, value)| ((*place).to_owned(), value.clone()))
            .collect();
        self.chain.serve(move |_, (_, answer)| {
            for (place, value) in &lies {
                *answer.pointer_mut(place).unwrap() = value.clone();
            }
        })
    }

    /// A node that leaves these fields out of every answer, and bends the rest.
    fn strips(
        &self,
        fields: &'static [&str],
        lies: impl Fn(&mut Value) + Send + 'static,
    ) -> String {
        self.chain.serve(move |_, (_, answer)| {
            let map = answer.as_object_mut().unwrap();
            fields.iter().for_each(|field| drop(map.remove(*field)));
            lies(answer);
        })
    }

    /// Asks the node, and gives the exit code and the one document.
    fn query(&self, node: &str, line: &str) -> (i32, Value) {
        self.run(&format!("query --node {node} {line}"))
    }

    /// Saves an answer, and checks it offline.
    fn verify(&self, answer: &Value) -> (i32, Value) {
        let file = self.dir.path().join("answer.json");
        std::fs::write(&file, answer.to_string()).unwrap();
        self.run(&format!("verify answer {}", file.display()))
    }

    fn run(&self, line: &str) -> (i32, Value) {
        let output = Command::new(env!("CARGO_BIN_EXE_tintype"))
            .env("TINTYPE_DIR", self.dir.path())
            .args(line.split(' '))
            .arg("--json")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let document =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{line}: {e}: {text}"));
        (output.status.code().unwrap(), document)
    }

    #[track_caller]
    fn shown(&self, node: &str, line: &str) -> Value {
        let (exit, document) = self.query(node, line);
        assert_eq!(exit, 0, "{line}: {document}");
        document
    }

    #[track_caller]
    fn refused(&self, node: &str, line: &str, code: &str) -> Value {
        let (exit, document) = self.query(node, line);
        let found = (exit, &document["error"]["code"]);
        assert_eq!(found, (4, &code.into()), "{line}: {document}");
        assert!(document.get("balance").is_none(), "{line}: {document}");
        document
    }
}

/// The lines that an honest node answers, and of which all is proven.
fn lines(world: &World) -> Vec<String> {
    let [applied, failed] = world.chain.ids();
    let mut lines: Vec<String> = [
        "account alice",
        "account alice --height 1",
        "account alice --height 0",
        "record notes hello",
        "space notes",
        "validators",
        "block 1",
        "block latest",
    ]
    .map(str::to_owned)
    .into();
    lines.extend([applied, failed].map(|id| format!("tx {id}")));
    lines
}

#[test]
fn an_honest_node_is_verified_and_shown() {
    let world = World::new();
    let node = world.honest();
    for line in lines(&world) {
        let document = world.shown(&node, &line);
        assert_eq!(document["verified"], true, "{line}: {document}");
    }
    let (exit, absent) = world.query(&node, "record notes nothing");
    assert_eq!((exit, &absent["verified"]), (3, &json!(true)), "{absent}");
}

#[test]
fn whatever_the_proof_contradicts_is_refused() {
    let world = World::new();
    let [applied, failed] = world.chain.ids();
    let other = "07".repeat(32);
    let (record, block) = ("record notes hello", "block 1");
    let (applied, failed) = (format!("tx {applied}"), format!("tx {failed}"));
    for (line, place, lie) in [
        ("account alice", "/balance", json!(999_999_999)),
        ("account alice", "/address", json!(other)),
        ("account alice", "/nonce", json!(77)),
        (record, "/space", json!("OTHER-SPACE")),
        (record, "/key", json!("OTHER-KEY")),
        (record, "/key_hex", json!("00")),
        (record, "/value", json!("LIE")),
        (record, "/value", json!(null)),
        (record, "/value_hex", json!("4c4945")),
        ("space notes", "/space", json!("OTHER-SPACE")),
        ("space notes", "/owner", json!(other)),
        ("validators", "/validators/0/address", json!(other)),
        ("validators", "/validators/0/power", json!(9)),
        (block, "/height", json!(2)),
        (block, "/hash", json!(other)),
        (block, "/parent", json!(other)),
        (block, "/time", json!(5)),
        (block, "/proposer", json!(other)),
        (block, "/state_root", json!(other)),
        (block, "/transactions/0", json!(other)),
        (block, "/transactions", json!([])),
        (block, "/outcomes/0", json!("not_a_writer")),
        (block, "/header/state_root", json!(other)),
        (block, "/certificate/signatures", json!([])),
        (&applied, "/id", json!(other)),
        (&applied, "/block_hash", json!(other)),
        (&applied, "/state_root", json!(other)),
        (&applied, "/index", json!(1)),
        (&applied, "/height", json!(null)),
        (&applied, "/status", json!("failed")),
        (&failed, "/status", json!("committed")),
        (&failed, "/code", json!("not_a_writer")),
    ] {
        // Of a transaction and its block only one of the two answers has the place.
        let (at, lie_) = (place.to_owned(), lie.clone());
        let kind = line.split(' ').next().unwrap();
        let path = match kind {
            "tx" => "/v1/transactions/",
            _ => "/v1/",
        };
        let node = world.chain.serve(move |target, (_, answer)| {
            if target.starts_with(path) {
                *answer.pointer_mut(&at).unwrap() = lie_.clone();
            }
        });
        let (exit, document) = world.query(&node, line);
        let found = (exit, &document["error"]["code"]);
        let expected = (4, &json!("verification_failed"));
        assert_eq!(found, expected, "{line} with {place} {lie}: {document}");
    }
}

/// A block that is another's, sound as it is.
#[test]
fn a_block_is_the_one_that_was_asked_for() {
    let world = World::new();
    let chain = Arc::clone(&world.chain);
    let second = world.shown(&world.honest(), "block 2")["hash"].clone();
    let node = chain.serve({
        let first = world.chain.block(1);
        move |_, (_, answer)| *answer = json!(first)
    });
    world.refused(&node, "block 2", "verification_failed");
    // Its digits are a height, whatever its hash begins with.
    assert_ne!(world.shown(&node, "block 1")["hash"], second);
}

#[test]
fn what_no_proof_shows_is_told_apart() {
    let world = World::new();
    let node = world.says(&[("/next_nonce", json!(424_242)), ("/name", json!("mallory"))]);
    let account = world.shown(&node, "account alice");
    assert_eq!(account["verified"], true);
    assert_eq!(account["name"], "alice");
    assert_eq!(account["node_says"], json!({"next_nonce": 424_242}));
    assert!(account.get("next_nonce").is_none(), "{account}");

    // Somebody that has no name here gets none from the node.
    let node = world.says(&[("/validators/0/name", json!("mallory"))]);
    let list = world.shown(&node, "validators");
    assert_eq!(list["validators"][0]["name"], "node0", "{list}");

    let [_, failed] = world.chain.ids();
    let line = format!("tx {failed}");
    let node = world.chain.serve(|target, (_, answer)| {
        if target.starts_with("/v1/transactions/") {
            answer["message"] = json!("LIE");
            answer["elapsed_ms"] = json!(3);
        }
    });
    let shown = world.shown(&node, &line);
    assert_eq!(shown["message"], "the sender's balance was too small");
    assert_eq!(shown["node_says"], json!({"message": "LIE"}));
    assert_eq!(shown["elapsed_ms"], json!(null));
}

/// The lie needs no proof that is false: it comes without one.
#[test]
fn a_lie_without_a_proof_is_not_shown_unless_it_is_wanted() {
    let world = World::new();
    let evidence = &["proof", "header", "certificate"];
    let rich = |answer: &mut Value| answer["balance"] = json!(999_999_999);
    let node = world.strips(evidence, rich);
    let refusal = world.refused(&node, "account alice", "unverified");
    let text = refusal.to_string();
    assert!(
        text.contains("--unverified") && text.contains("no proof"),
        "{text}"
    );
    let shown = world.shown(&node, "account alice --unverified");
    assert_eq!(shown["verified"], false);
    assert_eq!(shown["balance"], 999_999_999);

    for fields in [&["proof"][..], &["header", "certificate"], &["certificate"]] {
        let node = world.strips(fields, |_| ());
        for line in [
            "account alice",
            "record notes hello",
            "space notes",
            "validators",
        ] {
            world.refused(&node, line, "unverified");
        }
    }
    // A proof that is false is false, wanted or not.
    let node = world.says(&[("/balance", json!(1))]);
    world.refused(&node, "account alice --unverified", "verification_failed");
    // So is the state of the genesis, which needs no certificate.
    let node = world.says(&[("/balance", json!(1))]);
    world.refused(&node, "account alice --height 0", "verification_failed");
}

#[test]
fn that_there_is_nothing_must_be_proven_too() {
    let world = World::new();
    let denies = world.chain.serve(|_, said| {
        let error = json!({"code": "not_found", "message": "there is none", "help": ""});
        *said = (404, json!({"error": error}));
    });
    world.refused(&denies, "account alice", "unverified");
    let (exit, document) = world.query(&denies, "account alice --unverified");
    assert_eq!(
        (exit, &document["verified"]),
        (3, &json!(false)),
        "{document}"
    );
    // What is there is denied with the proof that it is.
    let denies = world.chain.serve(|_, said| {
        let error = json!({"code": "not_found", "message": "there is none", "help": ""});
        *said = (404, json!({"error": error, "absence": said.1}));
    });
    world.refused(&denies, "account alice", "verification_failed");
}

/// What became of a transaction is in its block, and nothing but the block proves it.
#[test]
fn a_transaction_without_its_block_is_a_nodes_word() {
    let world = World::new();
    let [applied, _] = world.chain.ids();
    let line = format!("tx {applied}");
    let pruned = |target: &str, said: &mut (u16, Value)| {
        if target.starts_with("/v1/blocks/") {
            let error = json!({"code": "pruned", "message": "not kept", "help": ""});
            *said = (404, json!({"error": error}));
        }
    };
    let node = world.chain.serve(pruned);
    world.refused(&node, &line, "unverified");
    let shown = world.shown(&node, &format!("{line} --unverified"));
    assert_eq!(shown["verified"], false, "{shown}");

    let silent = world.chain.serve(|target, (_, answer)| {
        if target.starts_with("/v1/blocks/") {
            answer["outcomes"] = json!(null);
        }
    });
    world.refused(&silent, &line, "unverified");

    let pending = world.chain.serve(|_, (_, answer)| {
        for field in ["height", "block_hash", "state_root", "index"] {
            answer[field] = json!(null);
        }
        answer["status"] = json!("pending");
    });
    let shown = world.shown(&pending, &line);
    let found = (&shown["status"], &shown["verified"]);
    assert_eq!(found, (&json!("pending"), &json!(false)), "{shown}");
}

#[test]
fn without_a_genesis_nothing_is_verified_and_with_a_broken_one_nothing_is_asked() {
    let world = World::new();
    let file = world.dir.path().join("genesis.json");
    let node = world.honest();
    std::fs::write(&file, "{}").unwrap();
    let (exit, document) = world.query(&node, "validators");
    assert_ne!(exit, 0, "{document}");
    std::fs::remove_file(&file).unwrap();
    for line in ["validators", "block latest"] {
        assert_eq!(world.shown(&node, line)["verified"], false, "{line}");
    }
}

/// What was saved is checked by what stands in it, and its fields are compared with what is proven.
#[test]
fn a_saved_answer_is_checked_offline() {
    let world = World::new();
    let node = world.honest();
    let alice = world.chain.alice.address();
    let asked = [
        "account alice",
        "record notes hello",
        "space notes",
        "validators",
    ];
    let mut saved: Vec<Value> = asked
        .iter()
        .map(|line| world.shown(&node, &format!("{line} --proof")))
        .collect();
    saved.extend(
        [
            format!("/v1/accounts/{alice}?proof=true"),
            format!("/v1/accounts/{alice}?height=0&proof=true"),
            "/v1/spaces/notes/records/hello?proof=true".into(),
            "/v1/spaces/notes?proof=true".into(),
            "/v1/validators?proof=true".into(),
            "/v1/blocks/2".into(),
        ]
        .map(|target| world.chain.answer(&target).1),
    );
    for answer in &saved {
        let (exit, report) = world.verify(answer);
        let found = (exit, &report["verified"], &report["height"]);
        assert_eq!(found, (0, &json!(true), &answer["height"]), "{report}");
        let of_account = answer.get("balance").is_some();
        let told = report["not_proven"].as_array().unwrap();
        assert_eq!(told.contains(&json!("next_nonce")), of_account, "{report}");
    }
    for (n, place, lie) in [
        (0, "/balance", json!(999_999_999)),
        (0, "/address", json!("07".repeat(32))),
        (1, "/value", json!("LIE")),
        (1, "/key", json!("OTHER")),
        (2, "/changes", json!(77)),
        (3, "/validators/0/power", json!(9)),
        (5, "/nonce", json!(77)),
        (9, "/state_root", json!("07".repeat(32))),
    ] {
        let mut bent = saved[n].clone();
        *bent.pointer_mut(place).unwrap() = lie;
        let (exit, report) = world.verify(&bent);
        let found = (exit, &report["error"]["code"]);
        assert_eq!(
            found,
            (4, &json!("verification_failed")),
            "{place}: {report}"
        );
    }
    let bare = world.shown(&node, "account alice");
    let (exit, report) = world.verify(&bare);
    assert_eq!((exit, &report["error"]["code"]), (4, &json!("unverified")));
    let (exit, report) = world.verify(&json!({"x": 1}));
    assert_eq!((exit, &report["error"]["code"]), (1, &json!("bad_answer")));
    let (exit, report) = world.query(&node, "block 1 --proof");
    assert_eq!((exit, &report["error"]["code"]), (2, &json!("usage")));
}
