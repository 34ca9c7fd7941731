//! The light client against nodes that are made up: they agree, one lies, or the chain has forked.

use super::*;
use ledger::{
    block::Header,
    certificate::{Certificate, CommitSignature, SignedContent},
    genesis::{GenesisAccount, GenesisValidator, PROTOCOL_VERSION, Parameters},
    hash::StateRoot,
    keys::SecretKey,
    units::{Amount, Power, Round, TimestampMs},
};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
};

/// The height that everyone has.
const HEIGHT: u64 = 9;

fn keys(first: u8) -> Vec<SecretKey> {
    let seeds = first..first + 4;
    let mut keys: Vec<_> = seeds.map(|n| SecretKey::from_seed([n; 32])).collect();
    keys.sort_by_key(SecretKey::address);
    keys
}

fn genesis() -> Genesis {
    let validator = |(n, key): (usize, &SecretKey)| GenesisValidator {
        name: format!("node{n}"),
        public_key: key.public_key(),
        power: Power(1),
    };
    Genesis {
        protocol_version: PROTOCOL_VERSION,
        chain_name: "made-up".into(),
        time: now(),
        parameters: Parameters::default(),
        validators: keys(1).iter().enumerate().map(validator).collect(),
        accounts: vec![GenesisAccount {
            name: "alice".into(),
            address: keys(1)[0].address(),
            balance: Amount(1),
        }],
        generated: None,
    }
}

/// A certified block with that root in it.
fn block(genesis: &Genesis, root: u8, signers: &[SecretKey]) -> LightBlock {
    let validators = genesis.validator_set().unwrap();
    let header = Header {
        protocol_version: PROTOCOL_VERSION,
        chain: genesis.chain_id(),
        height: Height(HEIGHT),
        round: Round(0),
        parent: BlockHash::default(),
        parent_certificate: Default::default(),
        time: TimestampMs(genesis.time.0 + 1),
        proposer: signers[0].address(),
        transaction_ids: Default::default(),
        transactions_root: Default::default(),
        state_root: StateRoot([root; 32]),
        validators: validators.hash(),
        next_validators: validators.hash(),
    };
    let mut certificate = Certificate {
        height: header.height,
        round: Round(0),
        block: header.hash(),
        signatures: vec![],
    };
    let sign = |k: &SecretKey| CommitSignature {
        validator: k.address(),
        signature: certificate.vote(k.address()).sign(&header.chain, k),
    };
    certificate.signatures = signers.iter().map(sign).collect();
    LightBlock {
        header,
        certificate,
        validators,
    }
}

/// A node that has one block, and says so to whoever asks.
fn node(name: &str, block: &LightBlock) -> Client {
    let hash = "00".repeat(32);
    let status = json!({
        "name": name, "version": "0", "public_key": hash, "chain_id": hash, "chain_name": "c",
        "validator": true, "voting": true, "ready": true, "height": HEIGHT, "block_hash": null,
        "block_time": null, "state_root": hash, "last_block_transactions": 0,
        "earliest_block": null, "peers": 0, "p2p": [], "mempool": 0, "snapshot": null,
        "sync": null, "alarm": null, "stands_still_seconds": null,
    });
    let light = json!({
        "height": HEIGHT, "hash": block.header.hash(), "header": block.header,
        "certificate": block.certificate, "validators": block.validators,
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = String::new();
            let mut reader = BufReader::new(&stream);
            while reader.read_line(&mut request).unwrap() > 2 {}
            let answer: &Value = match request.starts_with("GET /v1/status ") {
                true => &status,
                false => &light,
            };
            let body = answer.to_string();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
            let length = format!("Content-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all([head, &length, &body].concat().as_bytes());
        }
    });
    Client::new(name, &url)
}

fn follow_all(clients: &[Client], genesis: &Genesis, trust: Option<Checkpoint>) -> Result<Report> {
    let args = ChainArgs {
        trust,
        trusting_period: "14d".parse().unwrap(),
        height: None,
    };
    check(clients, Ok(genesis.clone()), &args)
}

#[test]
fn nodes_that_agree_are_listed() {
    let genesis = genesis();
    let block = block(&genesis, 1, &keys(1));
    let clients = [node("node0", &block), node("node1", &block)];
    let report = follow_all(&clients, &genesis, None).unwrap();
    assert_eq!((report.from, report.to), (Height(0), Height(HEIGHT)));
    assert_eq!(
        (report.headers_checked, report.validator_set_changes),
        (1, 0)
    );
    let hash = block.header.hash();
    assert!(report.nodes.iter().all(|node| node.hash == Some(hash)));
    assert_eq!(report.nodes.len(), 2);
}

/// Three of four have signed both blocks: nobody's word decides, and both are shown.
#[test]
fn two_certified_blocks_of_one_height_are_a_fork() {
    let genesis = genesis();
    let (one, other) = (
        block(&genesis, 1, &keys(1)),
        block(&genesis, 2, &keys(1)[1..]),
    );
    let clients = [node("node0", &one), node("node1", &other)];
    let failure = follow_all(&clients, &genesis, None).unwrap_err();
    assert_eq!(
        (failure.exit, &*failure.code),
        (Exit::Disagreement, "forked")
    );
    for block in [&one, &other] {
        let hash = block.header.hash().to_string();
        assert!(failure.message.contains(&hash), "{failure}");
    }
    assert_eq!(failure.found["verified"], false);
    assert_eq!(failure.found["nodes"].as_array().map(Vec::len), Some(2));
}

/// A block that two of four have signed is that node's lie, not a fork; it is named.
#[test]
fn who_shows_a_block_without_a_quorum_is_named() {
    let genesis = genesis();
    let (one, lie) = (
        block(&genesis, 1, &keys(1)),
        block(&genesis, 2, &keys(1)[2..]),
    );
    for clients in [
        [node("node0", &one), node("liar", &lie)],
        [node("liar", &lie), node("node0", &one)],
    ] {
        let failure = follow_all(&clients, &genesis, None).unwrap_err();
        let expected = (Exit::Disagreement, "verification_failed");
        assert_eq!((failure.exit, &*failure.code), expected);
        let message = &failure.message;
        assert!(
            message.contains("liar") && message.contains("height 9") && message.contains("2/3"),
            "{message}"
        );
    }
}

#[test]
fn a_trusted_block_is_the_one_of_that_hash() {
    let genesis = genesis();
    let block = block(&genesis, 1, &keys(1));
    let clients = [node("node0", &block)];
    let at = |hash| Checkpoint {
        height: Height(HEIGHT),
        hash,
    };
    // It is all there is: there is nothing ahead of it.
    let failure = follow_all(&clients, &genesis, Some(at(block.header.hash()))).unwrap_err();
    assert_eq!(failure.code, "not_ahead");
    let other = at(BlockHash([9; 32]));
    let failure = follow_all(&clients, &genesis, Some(other)).unwrap_err();
    assert_eq!(failure.code, "verification_failed");
    let stranger = Genesis {
        chain_name: "another".into(),
        ..genesis
    };
    let failure = follow_all(&clients, &stranger, Some(at(block.header.hash()))).unwrap_err();
    assert_eq!(failure.code, "other_chain");
}

#[test]
fn a_period_has_a_unit() {
    let seconds = |text: &str| text.parse::<Period>().map(|p| p.0.as_secs()).ok();
    assert_eq!(seconds("90s"), Some(90));
    assert_eq!(seconds("10m"), Some(600));
    assert_eq!(seconds("36h"), Some(36 * 3600));
    assert_eq!(seconds("14d"), Some(14 * 86400));
    for wrong in ["", "14", "d", "-1d", "1.5d", "14\u{e4}"] {
        assert_eq!(seconds(wrong), None, "{wrong}");
    }
}
