//! Drives the built program as a script would: exit codes, and exactly one JSON document on standard output.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use serde_json::Value;
use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

fn tintype(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tintype"))
        .args(arguments)
        .env("TINTYPE_DIR", dir)
        .output()
        .unwrap()
}

/// Runs with `--json`, checks the exit code, and gives the one document.
fn json(dir: &Path, arguments: &[&str], exit: i32) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    let output = tintype(dir, &arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(exit),
        "{arguments:?}: {text} {errors}"
    );
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {text:?}"))
}

#[test]
fn wrong_usage_is_exit_code_2_with_an_error_document() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [
        &["nonsense"][..],
        &["tx", "transfer", "alice"],
        &["tx", "transfer", "alice", "bob", "much"],
        &["testnet", "--validators", "0"],
        &["keys", "add", "../x"],
        &["init", "extra"],
        &["testnet", "--base-port", "65535"],
        &["testnet", "--snapshot-interval", "9999999999"],
        &["testnet", "--entries", "100000001"],
        &["testnet", "--fresh", "--snapshot-interval", "9999999999"],
        &["query", "block", "latest", "--height", "3"],
        &["query", "tx", "0123456789", "--height", "3"],
        &["keys", "add", "deadbeef"],
        &["keys", "add", &"ab".repeat(32)],
        &["init", "--name", "a b"],
        &["init", "--name", "a", "--listen", "here"],
        &["init", "--name", "a", "--peer", "there"],
    ] {
        let document = json(dir.path(), arguments, 2);
        assert_eq!(document["error"]["code"], "usage", "{document}");
        assert!(
            document["error"]["message"]
                .as_str()
                .is_some_and(|m| !m.is_empty())
        );
    }
    let left = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 0, "wrong usage makes nothing");
    let plain = tintype(dir.path(), &["nonsense"]);
    assert_eq!(plain.status.code(), Some(2));
    assert!(plain.stdout.is_empty() && !plain.stderr.is_empty());
}

#[test]
fn help_names_every_command() {
    let output = tintype(Path::new("."), &["--help"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    for command in [
        "testnet", "tx", "query", "keys", "snapshot", "verify", "bench", "init", "genesis", "node",
        "doctor",
    ] {
        assert!(
            text.contains(&format!("\n  {command} ")),
            "{command} is not in {text}"
        );
    }
}

#[test]
fn a_testnet_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("none");
    for arguments in [
        &["testnet", "status"][..],
        &["testnet", "down"],
        &["verify", "roots"],
    ] {
        let document = json(&missing, arguments, 1);
        assert_eq!(document["error"]["code"], "no_testnet", "{document}");
    }
    let asked = json(&missing, &["query", "account", "alice"], 1);
    assert_eq!(asked["error"]["code"], "no_testnet", "{asked}");
    assert!(!missing.exists(), "asking makes nothing");
    std::fs::write(dir.path().join("thesis.txt"), "x").unwrap();
    let document = json(dir.path(), &["testnet", "--detach"], 1);
    assert_eq!(document["error"]["code"], "not_a_testnet", "{document}");
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        1,
        "nothing is left in it"
    );
}

#[test]
fn a_file_where_a_folder_should_be_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("passwd");
    std::fs::write(&file, "x").unwrap();
    for arguments in [
        &["query", "account", "alice"][..],
        &["verify", "ledger", "node0"],
        &["keys", "show", "alice"],
        &["doctor"],
        &["tx", "transfer", "alice", "bob", "5"],
    ] {
        let document = json(&file, arguments, 1);
        let message = document["error"]["message"].as_str().unwrap();
        assert!(message.contains("is a file, not a folder"), "{document}");
    }
}

#[test]
fn keys_are_made_listed_and_carried() {
    let dir = tempfile::tempdir().unwrap();
    let made = json(dir.path(), &["keys", "add", "erin"], 0);
    let list = json(dir.path(), &["keys", "list"], 0);
    assert_eq!(list["keys"][0], made);
    let again = json(dir.path(), &["keys", "add", "erin"], 1);
    assert_eq!(again["error"]["code"], "exists");
    let prefix = &made["address"].as_str().unwrap()[..8];
    assert_eq!(json(dir.path(), &["keys", "show", prefix], 0), made);
    assert_eq!(
        json(dir.path(), &["keys", "show", "nobody"], 3)["error"]["code"],
        "not_found"
    );

    let file = dir.path().join("seed");
    let file = file.to_str().unwrap();
    json(dir.path(), &["keys", "export", "erin", file], 0);
    let imported = json(dir.path(), &["keys", "import", "erin2", file], 0);
    assert_eq!(imported["address"], made["address"]);
}

#[test]
fn a_node_that_does_not_answer_is_exit_code_5() {
    let dir = tempfile::tempdir().unwrap();
    let asked = ["query", "block", "latest", "--node", "http://127.0.0.1:1"];
    let document = json(dir.path(), &asked, 5);
    assert_eq!(document["error"]["code"], "unreachable", "{document}");
}

#[test]
fn nodes_can_be_made_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    // Any free ports: those that are taken if nothing is said may be another testnet's.
    let any = ["--listen", "/ip4/127.0.0.1/tcp/0", "--http", "127.0.0.1:0"];
    for name in ["a", "b"] {
        let folder = at(name);
        let words: Vec<&str> = ["init", "--dir", &folder].into_iter().chain(any).collect();
        let made = json(dir.path(), &words, 0);
        assert_eq!(made["name"], name);
    }
    let out = at("genesis.json");
    let chain = json(
        dir.path(),
        &["genesis", &at("a"), &at("b"), "--out", &out],
        0,
    );
    assert_eq!(chain["validators"], 2);
    assert_eq!(
        std::fs::read(&out).unwrap(),
        std::fs::read(dir.path().join("b/genesis.json")).unwrap()
    );
    let again = json(dir.path(), &["genesis", &at("a"), "--out", &out], 1);
    assert_eq!(again["error"]["code"], "exists");
    let doctor = json(dir.path(), &["doctor", "--dir", &at("a")], 0);
    assert_eq!(doctor["ok"], true, "{doctor}");
}

#[test]
fn the_version_is_a_field() {
    let document = json(Path::new("."), &["--version"], 0);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(document, serde_json::json!({"version": version}));
}

#[test]
fn a_node_without_a_genesis_says_where_to_get_one() {
    let dir = tempfile::tempdir().unwrap();
    json(dir.path(), &["init", "--name", "a"], 0);
    let document = json(dir.path(), &["node"], 1);
    assert_eq!(document["error"]["code"], "genesis_missing", "{document}");
    let help = document["error"]["help"].as_str().unwrap();
    assert!(
        help.contains("tintype genesis") && help.contains("copy"),
        "{help}"
    );
}

#[test]
fn a_file_that_is_no_key_is_not_to_be_hidden() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("passwd");
    std::fs::write(&file, "root:x:0:0").unwrap();
    let sent = [
        "tx",
        "transfer",
        "alice",
        "bob",
        "1",
        "--key",
        file.to_str().unwrap(),
    ];
    let document = json(dir.path(), &sent, 1);
    assert_eq!(document["error"]["code"], "key_malformed", "{document}");
    assert!(!document.to_string().contains("chmod"), "{document}");
}

/// A node that takes the connection and never answers, and Ctrl-C or SIGTERM meanwhile.
#[test]
fn an_interruption_is_one_document_or_one_line() {
    use rustix::process::Signal;
    let dir = tempfile::tempdir().unwrap();
    for (signal, is_json) in [
        (Signal::INT, true),
        (Signal::INT, false),
        (Signal::TERM, true),
    ] {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_tintype"));
        command.args(["query", "block", "latest", "--node", &url]);
        if is_json {
            command.arg("--json");
        }
        let child = command
            .env("TINTYPE_DIR", dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _connection = silent.accept().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130));
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        if is_json {
            let document: Value = serde_json::from_str(&stdout).unwrap();
            assert_eq!(document["error"]["code"], "interrupted", "{document}");
            assert_eq!(stderr, "");
        } else {
            assert_eq!((&*stdout, &*stderr), ("", "interrupted\n"));
        }
    }
}

#[cfg(not(feature = "s3"))]
#[test]
fn a_program_without_s3_says_how_to_build_one_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let trust = format!("1:{}", "ab".repeat(32));
    let words = ["snapshot", "verify", "s3://b/x", "--trust", &trust];
    let document = json(dir.path(), &words, 1);
    assert_eq!(document["error"]["code"], "no_s3", "{document}");
    let help = document["error"]["help"].as_str().unwrap();
    assert!(help.contains("--features s3"), "{document}");
}
