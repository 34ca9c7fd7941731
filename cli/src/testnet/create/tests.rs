//! A testnet is made whole or not at all, and what is there is neither lost nor taken for something else.

use super::*;
use crate::failure::Exit;
use node::config::{SyncMode, parse_key};

#[test]
fn a_testnet_is_made_once_and_carried_on() {
    let folder = tempfile::tempdir().unwrap();
    let testnet = Testnet::at(folder.path());
    assert!(ensure(&testnet, &Plan::default()).unwrap());
    let chain = testnet.genesis().unwrap().chain_id();
    assert!(!ensure(&testnet, &Plan::default()).unwrap());
    assert_eq!(testnet.genesis().unwrap().chain_id(), chain);
    let members = testnet.members().unwrap();
    assert_eq!(members.len(), VALIDATORS);
    for member in &members {
        assert_eq!(member.dir.config().unwrap().p2p.peers.len(), VALIDATORS - 1);
    }
    let plan = Plan {
        validators: Some(5),
        ..Plan::default()
    };
    assert_eq!(ensure(&testnet, &plan).unwrap_err().code, "other_testnet");

    let by_snapshot = Sync {
        mode: SyncMode::Snapshot,
        backfill: true,
        trust: format!("7:{}", "ab".repeat(32)).parse().ok(),
        spaces: vec![],
    };
    let added = add_node(&testnet, None, by_snapshot.clone()).unwrap();
    assert_eq!(added.name, "node4");
    assert_eq!(added.dir.config().unwrap().p2p.peers.len(), VALIDATORS);
    assert_eq!(added.dir.config().unwrap().sync, by_snapshot);
    assert_eq!(added.dir.genesis().unwrap().chain_id(), chain);
    assert_eq!(
        add_node(&testnet, Some("node4"), Sync::default())
            .unwrap_err()
            .code,
        "exists"
    );
}

#[test]
fn a_node_that_cannot_be_made_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let testnet = Testnet::at(folder.path());
    let plan = Plan {
        validators: Some(1),
        ..Plan::default()
    };
    ensure(&testnet, &plan).unwrap();
    let of_no_name = Sync {
        spaces: vec![String::new()],
        ..Sync::default()
    };
    let failure = add_node(&testnet, Some("sp3"), of_no_name).unwrap_err();
    assert_eq!(failure.exit, Exit::Usage, "{failure}");
    assert!(
        failure.message.contains("names of 1 to 256 bytes"),
        "{failure}"
    );
    assert!(!testnet.node_dir("sp3").path().exists());
    // Or if it fails half-way: the others cannot be wired to it.
    let file = testnet.node_dir("node0").key_file();
    let key = fs::read(&file).unwrap();
    fs::write(&file, "no key").unwrap();
    add_node(&testnet, Some("sp3"), Sync::default()).unwrap_err();
    assert!(!testnet.node_dir("sp3").path().exists());
    fs::write(&file, key).unwrap();
    add_node(&testnet, Some("sp3"), Sync::default()).unwrap();
}

#[test]
fn a_testnet_of_another_size_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let testnet = Testnet::at(folder.path());
    let of = |entries| Plan {
        validators: Some(1),
        entries,
        ..Plan::default()
    };
    assert!(ensure(&testnet, &of(Some(1_000))).unwrap());
    let genesis = testnet.genesis().unwrap();
    assert_eq!(genesis.generated, Some(Generated::of(1_000)));
    for same in [None, Some(1_000)] {
        assert!(!ensure(&testnet, &of(same)).unwrap());
    }
    for other in [0, 999] {
        let refused = ensure(&testnet, &of(Some(other))).unwrap_err();
        assert_eq!(refused.code, "other_testnet");
        assert!(refused.message.contains("1000, not"), "{refused}");
    }
    let fresh = Plan {
        fresh: true,
        ..of(Some(0))
    };
    assert!(ensure(&testnet, &fresh).unwrap());
    assert_eq!(testnet.genesis().unwrap().generated, None);
}

/// Several commands in several terminals, at one moment.
#[test]
fn nodes_that_are_added_at_once_have_names_and_ports_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let testnet = Testnet::at(folder.path());
    let plan = Plan {
        validators: Some(1),
        ..Plan::default()
    };
    ensure(&testnet, &plan).unwrap();
    let together = std::sync::Barrier::new(6);
    let add = || {
        together.wait();
        add_node(&testnet, None, Sync::default()).unwrap().name
    };
    let mut names = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(add)).collect();
        let names = threads.into_iter().map(|thread| thread.join().unwrap());
        names.collect::<Vec<_>>()
    });
    names.sort_unstable();
    assert_eq!(
        names,
        ["node1", "node2", "node3", "node4", "node5", "node6"]
    );
    assert_eq!(wiring::reserved(&testnet).unwrap().len(), 2 * 7);
    for member in testnet.members().unwrap() {
        let peers = member.dir.config().unwrap().p2p.peers;
        assert_eq!(peers.len(), 6, "{} knows all others", member.name);
    }
}

/// The genesis is the last thing that is written of a testnet.
#[test]
fn a_creation_that_was_interrupted_is_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    let testnet = Testnet::at(folder.path());
    make_node(&testnet, &Config::named("node0")).unwrap();
    let alone = ensure(&testnet, &Plan::default()).unwrap_err();
    assert_eq!(alone.code, "genesis_missing", "it may be a node's only key");
    fs::create_dir(testnet.stage().dir()).unwrap();
    fs::write(folder.path().join("genesis.json.new"), "{").unwrap();
    assert!(ensure(&testnet, &Plan::default()).unwrap());
    assert_eq!(testnet.members().unwrap().len(), VALIDATORS);
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.txt"), "x").unwrap();
    let testnet = Testnet::at(folder.path());
    assert_eq!(
        ensure(&testnet, &Plan::default()).unwrap_err().code,
        "not_a_testnet"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// Everything is checked before anything is removed; what cannot work leaves the folder as it was.
#[test]
fn a_fresh_testnet_that_cannot_be_made_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let testnet = Testnet::at(folder.path());
    let fresh = Plan {
        validators: Some(1),
        fresh: true,
        ..Plan::default()
    };
    assert!(ensure(&testnet, &fresh).unwrap());
    let chain = testnet.genesis().unwrap().chain_id();
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().port();
    let no_ports = Plan {
        base_port: Some(taken),
        ..fresh
    };
    let outside = Plan {
        base_port: Some(u16::MAX),
        ..fresh
    };
    let interval = Plan {
        snapshot_interval: Some(u64::MAX),
        ..fresh
    };
    let cases = [
        (no_ports, "port_taken"),
        (outside, "usage"),
        (interval, "usage"),
    ];
    for (plan, code) in cases {
        assert_eq!(ensure(&testnet, &plan).unwrap_err().code, code);
        let new = Testnet::at(&folder.path().join("new"));
        assert_eq!(check(&new, &plan).unwrap_err().code, code);
        assert!(!new.dir().exists());
    }
    let stray = folder.path().join("stray");
    fs::create_dir(&stray).unwrap();
    assert_eq!(ensure(&testnet, &fresh).unwrap_err().code, "not_a_testnet");
    assert_eq!(testnet.genesis().unwrap().chain_id(), chain);
    assert_eq!(testnet.members().unwrap().len(), 1);

    fs::remove_dir(&stray).unwrap();
    assert!(ensure(&testnet, &fresh).unwrap());
    assert_ne!(testnet.genesis().unwrap().chain_id(), chain);
    assert!(!testnet.stage().dir().exists());
}

#[test]
fn a_node_of_which_the_key_is_left_is_a_node_and_is_given_what_it_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let testnet = Testnet::at(folder.path());
    ensure(&testnet, &Plan::default()).unwrap();
    let dir = testnet.node_dir("node3");
    let key = fs::read(dir.key_file()).unwrap();
    fs::remove_dir_all(dir.path()).unwrap();
    fs::create_dir(dir.path()).unwrap();
    write_key(
        &dir.key_file(),
        &parse_key(&String::from_utf8_lossy(&key)).unwrap(),
    )
    .unwrap();

    assert!(!ensure(&testnet, &Plan::default()).unwrap());
    let member = testnet.member("node3").unwrap();
    let made = restore(&testnet, &member).unwrap();
    assert_eq!(made, ["genesis.json", "tintype.toml"]);
    wiring::rewire(&testnet).unwrap();
    assert_eq!(dir.genesis().unwrap(), testnet.genesis().unwrap());
    assert_eq!(dir.config().unwrap().p2p.peers.len(), VALIDATORS - 1);
    assert_eq!(wiring::reserved(&testnet).unwrap().len(), 2 * VALIDATORS);
    assert!(!dir.wal().exists(), "it must know that it was wiped");
    assert_eq!(fs::read(dir.key_file()).unwrap(), key);
    assert!(restore(&testnet, &member).unwrap().is_empty());
}

#[test]
fn a_node_of_another_chain_is_named() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = (Testnet::at(one.path()), Testnet::at(two.path()));
    let plan = Plan {
        validators: Some(1),
        ..Plan::default()
    };
    ensure(&a, &plan).unwrap();
    ensure(&b, &plan).unwrap();
    fs::copy(a.genesis_file(), b.node_dir("node0").genesis_file()).unwrap();
    assert_eq!(
        ensure(&b, &Plan::default()).unwrap_err().code,
        "other_chain"
    );
}
