//! The light client against nodes that are made up: they agree, one lies, or the chain has forked.

use super::*;
use crate::client::fake;
use ledger::{
    block::Header,
    certificate::{Certificate, CommitSignature, SignedContent},
    genesis::{GenesisAccount, GenesisValidator, PROTOCOL_VERSION, Parameters},
    hash::StateRoot,
    keys::SecretKey,
    units::{Amount, Power, Round, TimestampMs},
    validators::ValidatorSet,
};
use serde_json::{Value, json};

/// The height that everyone has.
const HEIGHT: u64 = 9;

fn keys(first: u8) -> Vec<SecretKey> {
    let seeds = first..first + 4;
    let mut keys: Vec<_> = seeds.map(|n| SecretKey::from_seed([n; 32])).collect();
    keys.sort_by_key(SecretKey::address);
    keys
}

fn genesis() -> Genesis {
    genesis_of(&keys(1))
}

fn genesis_of(keys: &[SecretKey]) -> Genesis {
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
        validators: keys.iter().enumerate().map(validator).collect(),
        accounts: vec![GenesisAccount {
            name: "alice".into(),
            address: keys[0].address(),
            balance: Amount(1),
        }],
        generated: None,
    }
}

/// A certified block with that root in it.
fn block(genesis: &Genesis, root: u8, signers: &[SecretKey]) -> LightBlock {
    let validators = genesis.validator_set().unwrap();
    certified(
        genesis,
        (HEIGHT, BlockHash::default()),
        root,
        signers,
        &[validators.clone(), validators],
    )
}

/// A certified block on a parent, with the validators of its height and those of the next.
fn certified(
    genesis: &Genesis,
    (height, parent): (u64, BlockHash),
    root: u8,
    signers: &[SecretKey],
    sets: &[ValidatorSet; 2],
) -> LightBlock {
    let [validators, next] = sets.clone();
    let header = Header {
        protocol_version: PROTOCOL_VERSION,
        chain: genesis.chain_id(),
        height: Height(height),
        round: Round(0),
        parent,
        parent_certificate: Default::default(),
        time: TimestampMs(genesis.time.0 + height),
        proposer: signers[0].address(),
        transaction_ids: Default::default(),
        transactions_root: Default::default(),
        state_root: StateRoot([root; 32]),
        validators: validators.hash(),
        next_validators: next.hash(),
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
fn node(name: &'static str, block: &LightBlock) -> Client {
    node_at(name, HEIGHT, &[], std::slice::from_ref(block))
}

/// A node that says that it is at a height, and has these blocks.
fn node_at(
    name: &'static str,
    height: u64,
    spaces: &'static [&'static str],
    blocks: &[LightBlock],
) -> Client {
    let light = |block: &LightBlock| {
        let path = format!("/v1/light/{}", block.header.height);
        let document = json!({
            "height": block.header.height, "hash": block.header.hash(), "header": block.header,
            "certificate": block.certificate, "validators": block.validators,
        });
        (path, document)
    };
    let blocks: BTreeMap<String, Value> = blocks.iter().map(light).collect();
    fake::node(name, move |path| match path {
        "/v1/status" => Some(fake::status(name, height, true, spaces)),
        path => blocks.get(path).cloned(),
    })
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

/// Where it stands among the nodes, and how far it is, does not matter.
#[test]
fn a_follower_of_spaces_does_not_say_where_the_chain_ends() {
    let genesis = genesis();
    let block = block(&genesis, 1, &keys(1));
    for height in [3, 50] {
        let clients = [
            node_at("flw", height, &["notes"], &[]),
            node("node0", &block),
        ];
        let report = follow_all(&clients, &genesis, None).unwrap();
        assert_eq!(report.to, Height(HEIGHT));
        let said: Vec<bool> = report.nodes.iter().map(|n| n.hash.is_some()).collect();
        assert_eq!(said, [false, true]);
    }
}

/// The validators were replaced, and who is furthest, as most are, has only the newest block.
#[test]
fn a_header_that_one_node_has_no_more_comes_from_another() {
    let genesis = genesis();
    let old = genesis.validator_set().unwrap();
    let new = genesis_of(&keys(50)).validator_set().unwrap();
    let mut parent = BlockHash::default();
    let mut blocks = Vec::new();
    for height in 1..HEIGHT {
        let next = if height + 1 == HEIGHT { &new } else { &old };
        let sets = [old.clone(), next.clone()];
        let block = certified(&genesis, (height, parent), 1, &keys(1), &sets);
        parent = block.header.hash();
        blocks.push(block);
    }
    let newest = certified(
        &genesis,
        (HEIGHT, parent),
        1,
        &keys(50),
        &[new.clone(), new],
    );
    let young = node_at("n9", HEIGHT, &[], std::slice::from_ref(&newest));
    let keeps = node_at("node0", HEIGHT - 1, &[], &blocks);
    let clients = [young.clone(), young.clone(), keeps];
    let report = follow_all(&clients, &genesis, None).unwrap();
    assert_eq!(
        (report.to, report.validator_set_changes),
        (Height(HEIGHT), 1)
    );
    let failure = follow_all(std::slice::from_ref(&young), &genesis, None).unwrap_err();
    assert!(
        failure.message.contains("no node gives it: n9: "),
        "{failure}"
    );
    // What does not verify is the lie of who gave it.
    for block in &mut blocks {
        block.certificate.signatures.truncate(2);
    }
    let liar = node_at("liar", HEIGHT - 1, &[], &blocks);
    let failure = follow_all(&[young, liar], &genesis, None).unwrap_err();
    assert_eq!(failure.code, "verification_failed");
    assert!(failure.message.contains("that liar shows"), "{failure}");
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

/// One node that boasts of blocks that nobody has, or lags, does not move where the chain is followed to.
#[test]
fn half_of_the_nodes_have_what_is_followed_to() {
    for (heights, expected) in [
        (&[1_000_000, 9, 9, 8][..], 9),
        (&[9, 9, 9, 1], 9),
        (&[10, 9], 9),
        (&[7], 7),
    ] {
        let node = |height: &u64| node_at("node", *height, &[], &[]);
        let clients: Vec<Client> = heights.iter().map(node).collect();
        assert_eq!(Sources::of(&clients).unwrap().height, Height(expected));
    }
}
