//! The test vectors of `docs/vectors`: proofs and light blocks as bytes, with what they prove, for whoever writes another
//! verifier. Here they are read as such a one would read them; and they are what this library makes.
//!
//! `TINTYPE_WRITE_VECTORS=1 cargo test -p tintype-ledger --test ledger vectors` writes them anew.

use crate::samples::{key, voters};
use ledger::{
    block::Header,
    certificate::{Certificate, CommitSignature, SignedContent},
    codec,
    genesis::{Genesis, GenesisValidator, PROTOCOL_VERSION, Parameters},
    hash::StateRoot,
    keys::SecretKey,
    light::{LightBlock, LightError, Trusted},
    state::tree::{
        EntryRef, PageLimits, Place, PlaceRange, Proof, RANGE_PROOF_BYTES_MAX, RangeProof, Tree,
    },
    units::{Height, Power, Round, TimestampMs},
    validators::{Validator, ValidatorSet},
};
use serde_json::{Value, json};
use std::path::Path;

fn place(n: u8) -> Place {
    Place([n; 32])
}

/// Entries at 0x11…, 0x22…, up to 0x99….
fn tree() -> (Tree, Vec<Value>) {
    let entries: Vec<_> = (1..10u8)
        .map(|n| (place(n * 0x11), vec![b'k', n], vec![n; usize::from(n)]))
        .collect();
    let tree = Tree::build(entries.iter().map(|(place, key, value)| EntryRef {
        place: *place,
        key,
        value,
    }));
    let shown = entries
        .iter()
        .map(|(place, key, value)| shown(place, key, value));
    (tree.expect("in order"), shown.collect())
}

fn shown(place: &Place, key: &[u8], value: &[u8]) -> Value {
    json!({"place": place, "key": hex::encode(key), "value": hex::encode(value)})
}

/// Bytes with one bit changed.
fn bent(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

fn proofs() -> Value {
    let (tree, entries) = tree();
    let (root, empty) = (tree.root(), Tree::default());
    let one = |name: &str, root: StateRoot, at: Place, proof: Vec<u8>| {
        let found = proven(root, &at, &proof);
        json!({"name": name, "root": root, "place": at, "proof": hex::encode(proof), "result": found})
    };
    let prove = |tree: &Tree, n: u8| codec::encode(&tree.prove(&place(n)));
    let there = prove(&tree, 0x55);
    let vectors = vec![
        one("inclusion", root, place(0x55), there.clone()),
        one(
            "inclusion, the first entry",
            root,
            place(0x11),
            prove(&tree, 0x11),
        ),
        one(
            "absence, by another entry",
            root,
            place(0x56),
            prove(&tree, 0x56),
        ),
        one(
            "absence, beyond all entries",
            root,
            place(0xff),
            prove(&tree, 0xff),
        ),
        one(
            "absence, of an empty tree",
            empty.root(),
            place(0x55),
            prove(&empty, 0x55),
        ),
        one(
            "invalid: of another place",
            root,
            place(0x66),
            there.clone(),
        ),
        one(
            "invalid: of another root",
            empty.root(),
            place(0x55),
            there.clone(),
        ),
        one(
            "invalid: a sibling's hash changed",
            root,
            place(0x55),
            bent(&there, 20),
        ),
        one(
            "invalid: the value changed",
            root,
            place(0x55),
            bent(&there, there.len() - 1),
        ),
        one(
            "invalid: a byte left over",
            root,
            place(0x55),
            [&there[..], &[0]].concat(),
        ),
        one(
            "invalid: a byte missing",
            root,
            place(0x55),
            there[1..].to_vec(),
        ),
    ];
    json!({"entries": entries, "root": root, "vectors": vectors})
}

/// What a proof proves, as the vectors say it.
fn proven(root: StateRoot, at: &Place, proof: &[u8]) -> Value {
    let Ok(proof) = codec::decode::<Proof>(proof, 1 << 20) else {
        return json!("invalid");
    };
    match proof.verify(root, at) {
        Ok(Some(entry)) => shown(&entry.place, entry.key, entry.value),
        Ok(None) => json!("absent"),
        Err(_) => json!("invalid"),
    }
}

fn ranges() -> Value {
    let (tree, entries) = tree();
    let root = tree.root();
    let of = |from: u8, to: u8| PlaceRange {
        from: place(from),
        to: place(to),
    };
    let one = |name: &str, range: PlaceRange, proof: Vec<u8>| {
        let found = proven_range(root, range, &proof);
        let proof = hex::encode(proof);
        json!({"name": name, "root": root, "from": range.from, "to": range.to, "proof": proof, "result": found})
    };
    let prove = |range, entries| {
        let bytes = u64::MAX;
        codec::encode(&tree.prove_range(range, PageLimits { entries, bytes }))
    };
    let all = PlaceRange::ALL;
    let middle = prove(of(0x30, 0x70), 100);
    let first_value = middle.len() / 2;
    let vectors = vec![
        one("all", all, prove(all, 100)),
        one("a part", of(0x30, 0x70), middle.clone()),
        one(
            "from entry to entry",
            of(0x33, 0x77),
            prove(of(0x33, 0x77), 100),
        ),
        one(
            "nothing, between two entries",
            of(0x34, 0x43),
            prove(of(0x34, 0x43), 100),
        ),
        one(
            "nothing, after all entries",
            of(0xa0, 0xff),
            prove(of(0xa0, 0xff), 100),
        ),
        one(
            "a first page of two",
            of(0x30, 0x70),
            prove(of(0x30, 0x70), 2),
        ),
        one(
            "a narrower range than was proven for",
            of(0x40, 0x70),
            prove(of(0x34, 0x70), 100),
        ),
        one(
            "a wider range: there is more",
            of(0x30, 0x90),
            middle.clone(),
        ),
        one("invalid: it begins late", of(0x20, 0x70), middle.clone()),
        one(
            "invalid: it shows what lies outside",
            of(0x30, 0x60),
            middle.clone(),
        ),
        one(
            "invalid: one bit changed",
            of(0x30, 0x70),
            bent(&middle, first_value),
        ),
        one(
            "invalid: a byte left over",
            of(0x30, 0x70),
            [&middle[..], &[0]].concat(),
        ),
    ];
    json!({"entries": entries, "root": root, "vectors": vectors})
}

/// What a range proof proves, as the vectors say it.
fn proven_range(root: StateRoot, range: PlaceRange, proof: &[u8]) -> Value {
    let Ok(proof) = codec::decode::<RangeProof>(proof, RANGE_PROOF_BYTES_MAX) else {
        return json!("invalid");
    };
    let Ok(proven) = proof.verify(root, range) else {
        return json!("invalid");
    };
    let entries = proven.entries.iter();
    let entries: Vec<Value> = entries.map(|e| shown(&e.place, e.key, e.value)).collect();
    json!({"entries": entries, "next": proven.next})
}

fn set(keys: &[SecretKey]) -> ValidatorSet {
    let one = |k: &SecretKey| Validator::new(k.public_key(), Power(1));
    ValidatorSet::new(keys.iter().map(one).collect()).expect("a set")
}

fn light() -> Value {
    let own = voters();
    let validator = |(n, key): (usize, &SecretKey)| GenesisValidator {
        name: format!("node{n}"),
        public_key: key.public_key(),
        power: Power(1),
    };
    let genesis = Genesis {
        protocol_version: PROTOCOL_VERSION,
        chain_name: "vectors".into(),
        time: TimestampMs(1),
        parameters: Parameters::default(),
        validators: own.iter().enumerate().map(validator).collect(),
        accounts: vec![],
        generated: None,
    };
    let block = |height: u64, keys: &[SecretKey], signers: &[SecretKey]| {
        let header = Header {
            protocol_version: PROTOCOL_VERSION,
            chain: genesis.chain_id(),
            height: Height(height),
            round: Round(0),
            parent: Default::default(),
            parent_certificate: Default::default(),
            time: TimestampMs(1_000 * height),
            proposer: keys[0].address(),
            transaction_ids: Default::default(),
            transactions_root: Default::default(),
            state_root: StateRoot([height.to_be_bytes()[7]; 32]),
            validators: set(keys).hash(),
            next_validators: set(keys).hash(),
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
            validators: set(keys),
        }
    };
    let sorted = |mut keys: Vec<SecretKey>| {
        keys.sort_by_key(SecretKey::address);
        keys
    };
    let half = sorted((3..=6).map(key).collect());
    let strangers = sorted((11..=14).map(key).collect());
    let one = |name: &str, block: LightBlock| {
        let bytes = codec::encode(&block);
        let result = believed(&genesis, &bytes);
        json!({"name": name, "light_block": hex::encode(bytes), "result": result})
    };
    let mut other_chain = block(9, &own, &own);
    other_chain.header.chain.0[0] ^= 1;
    let mut other_root = block(9, &own, &own);
    other_root.header.state_root.0[0] ^= 1;
    let vectors = vec![
        one("the first block", block(1, &own, &own)),
        one("three of four signed", block(9, &own, &own[..3])),
        one(
            "half of the validators were replaced",
            block(9, &half, &half),
        ),
        one(
            "too far: all validators were replaced",
            block(9, &strangers, &strangers),
        ),
        one("false: two of four signed", block(9, &own, &own[..2])),
        one(
            "false: the first block, voted on by others",
            block(1, &half, &half),
        ),
        one("false: of another chain", other_chain),
        one("false: another state root than was signed", other_root),
    ];
    json!({"genesis": genesis, "chain_id": genesis.chain_id(), "vectors": vectors})
}

/// Whether a light block is believed from the genesis, as the vectors say it.
fn believed(genesis: &Genesis, block: &[u8]) -> Value {
    let block = LightBlock::decode(block).expect("a light block");
    match Trusted::genesis(genesis).expect("sound").verify(block) {
        Ok(trusted) => json!({
            "height": trusted.height(),
            "hash": trusted.hash(),
            "state_root": trusted.state().expect("a block").root(),
        }),
        Err(LightError::TooFar { .. }) => json!("too far"),
        Err(_) => json!("false"),
    }
}

/// The file's content; written anew first, if that is asked for.
fn read(name: &str, made: &Value) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs/vectors")
        .join(name);
    if std::env::var_os("TINTYPE_WRITE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(made).expect("JSON");
        std::fs::write(&path, text + "\n").expect("written");
    }
    serde_json::from_slice(&std::fs::read(path).expect("read")).expect("JSON")
}

fn parsed<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).expect("of its type")
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("text")).expect("hex")
}

/// Every vector gives its result, and is what is made today.
fn check(name: &str, made: &Value, result: impl Fn(&Value, &Value) -> Value) {
    let document = read(name, made);
    for vector in document["vectors"].as_array().expect("a list") {
        let found = result(&document, vector);
        assert_eq!(found, vector["result"], "{name}: {}", vector["name"]);
        let text = vector["name"].as_str().expect("text");
        let failed = ["\"invalid\"", "\"false\"", "\"too far\""].contains(&&*found.to_string());
        let expected = ["invalid", "false", "too far"]
            .iter()
            .any(|w| text.starts_with(w));
        assert_eq!(failed, expected, "{name}: {text}: {found}");
    }
    assert!(
        document == *made,
        "{name}: the vectors are no longer what is made; a format has changed"
    );
}

#[test]
fn proofs_are_those_of_the_vectors() {
    check("proofs.json", &proofs(), |_, v| {
        proven(
            parsed(&v["root"]),
            &parsed(&v["place"]),
            &bytes(&v["proof"]),
        )
    });
}

#[test]
fn range_proofs_are_those_of_the_vectors() {
    check("range-proofs.json", &ranges(), |_, v| {
        let range = PlaceRange {
            from: parsed(&v["from"]),
            to: parsed(&v["to"]),
        };
        proven_range(parsed(&v["root"]), range, &bytes(&v["proof"]))
    });
}

#[test]
fn light_blocks_are_those_of_the_vectors() {
    check("light-blocks.json", &light(), |document, v| {
        believed(&parsed(&document["genesis"]), &bytes(&v["light_block"]))
    });
}
