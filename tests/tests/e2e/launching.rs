//! The launcher: it ends what it started however it ends, carries on the same chain, and says clearly what cannot work.

use crate::{
    net::{Net, Process},
    program::text,
};
use rustix::process::Signal;
use serde_json::Value;
use std::{fs, net::TcpListener};

fn running(net: &Net) -> Vec<Process> {
    let processes = net.processes();
    assert_eq!(processes.len(), 4, "{processes:?}");
    processes
}

#[test]
fn ctrl_c_ends_every_process() {
    let net = Net::empty();
    let mut launcher = net.launch("testnet");
    launcher.wait_for_first_block();
    running(&net);
    let second = net.fails("testnet", 1, "already_running");
    assert!(
        text(&second["error"], "help").contains("testnet down"),
        "{second}"
    );
    net.fails("testnet --detach", 1, "already_running");
    launcher.signal(Signal::INT);
    assert_eq!(launcher.exit_code(), Some(130));
    let left = net.processes();
    assert!(left.is_empty(), "the launcher ended before {left:?}");
}

#[test]
fn down_ends_a_launcher_in_another_terminal() {
    let net = Net::empty();
    let mut launcher = net.launch("testnet --validators 1");
    launcher.wait_for_first_block();
    assert_eq!(
        net.ok("testnet down")["stopped"],
        Value::from(vec!["node0"])
    );
    assert_eq!(launcher.exit_code(), Some(0));
    let left = net.processes();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn nothing_is_left_when_the_launcher_is_killed_and_the_chain_goes_on() {
    let net = Net::empty();
    let mut launcher = net.launch("testnet");
    let first = launcher.wait_for_first_block();
    let processes = running(&net);
    let sent = net.transfer("alice", "bob", 5);
    // A paused node cannot notice anything by itself, and must end all the same.
    net.ok("testnet pause node3");
    launcher.signal(Signal::KILL);
    assert_eq!(launcher.exit_code(), None);
    net.wait_ended(&processes);

    let again = net.ok("testnet --detach");
    assert_eq!(again["chain_id"], first["chain_id"]);
    net.assert_agreement(sent.height, 4);
    net.assert_kept(&[sent]);
}

#[test]
fn the_same_command_can_be_given_while_the_nodes_of_a_killed_launcher_end() {
    let net = Net::empty();
    let mut launcher = net.launch("testnet");
    let first = launcher.wait_for_first_block();
    launcher.signal(Signal::KILL);
    launcher.exit_code();
    let mut second = net.launch("testnet");
    let again = second.wait_for_first_block();
    assert_eq!(again["chain_id"], first["chain_id"]);
    second.signal(Signal::TERM);
    assert_eq!(second.exit_code(), Some(0));
}

#[test]
fn what_cannot_work_is_said_before_anything_starts() {
    let net = Net::empty();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let taken = net.fails(
        &format!("testnet --detach --base-port {port}"),
        1,
        "port_taken",
    );
    let message = text(&taken["error"], "message");
    assert!(message.contains(&port.to_string()), "{message}");

    net.ok("testnet --detach --validators 1");
    net.ok("testnet down");
    net.fails("testnet --detach --validators 3", 1, "other_testnet");
    let genesis = net.dir().join("node0/genesis.json");
    let text = fs::read_to_string(&genesis).unwrap();
    fs::write(&genesis, text.replace("\"time\": ", "\"time\": 1")).unwrap();
    net.fails("testnet --detach", 1, "other_chain");
    let started = net.processes();
    assert!(started.is_empty(), "{started:?}");
    net.ok("testnet --detach --fresh --validators 1");

    let file = net.beside("file");
    fs::write(&file, "x").unwrap();
    let folder = net.beside("thesis");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("chapter1"), "x").unwrap();
    for (dir, code) in [
        (file.clone(), "not_a_testnet"),
        (file.join("below"), "not_writable"),
        ("/proc/testnet".into(), "not_writable"),
        (folder, "not_a_testnet"),
    ] {
        let words = ["testnet", "--detach", "--dir", dir.to_str().unwrap()];
        let document = net.program().json(&words, 1);
        assert_eq!(document["error"]["code"], code, "{document}");
        let help = document["error"]["help"].as_str().unwrap();
        assert!(help.contains("--dir"), "{document}");
    }
}
