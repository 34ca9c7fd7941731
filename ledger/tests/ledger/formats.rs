//! The formats of `docs/formats.md`, pinned from fixed seeds. Each test builds the bytes field by field as the document draws
//! them, and holds the hashes against literals, which a Python program computed from the document alone (but for that of the
//! genesis file's text).
//!
//! When one fails, a format has changed: nodes of before and after do not understand each other, and what is on disk is
//! not read any more. If that is meant, it takes a new version (of the protocol or of the file), and a new line in the
//! document.

use crate::samples::{
    CHAIN, address, attestation, block, certificate_by, envelope, genesis, header, key, operations,
    proposal, transaction, validators, vote,
};
use ledger::{
    block::{CommittedBlock, transaction_ids_hash, transactions_root},
    certificate::{SignedContent, VoteKind},
    codec::encode,
    genesis::Parameters,
    hash::{Address, BlockHash, Domain, Hash, StateRoot, TxId, hash},
    state::{
        Code, Outcome, State,
        entries::{Account, Approvals, Key, Record, Space, ValidatorSets},
        tree::Prefix,
    },
    transaction::Proposal,
    units::{Amount, Height, Nonce, Power, Version},
};
use std::fmt::Display;

/// A format is as it always was, or this says which one is not.
#[track_caller]
fn assert_pinned(what: &str, found: impl Display, expected: impl Display) {
    assert_eq!(
        found.to_string(),
        expected.to_string(),
        "the format of {what} has changed: see docs/formats.md and the head of this file"
    );
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(bytes)
}

fn text(text: &str) -> String {
    number(text.len() as u64) + &hex(text)
}

fn number(n: u64) -> String {
    format!("{n:016x}")
}

const PARAMETERS: &str = "0000000000200000000000000004000000000040000001000001000000000001000000000000000000040000\
                          0000000000000064";

#[test]
fn keys_and_addresses() {
    let public = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";
    assert_pinned("public keys", key(1).public_key(), public);
    assert_pinned(
        "addresses",
        address(1),
        "18c9d112835eaabd1365dc83ebe27796d45b2551902b6b5d58b5005f7208754c",
    );
    // Ed25519 signatures are deterministic: RFC 8032.
    assert_pinned(
        "signatures",
        key(1).sign(Domain::Vote, b"content"),
        "75a29f7de22fd77383e4269f73521775fd7dcdcb770ea26ad518f8ad866d43b665f44d7bbe4135608453432e4c78aee97f73d6f23b3c2400f369cbb4f00d6e01",
    );
}

#[test]
fn parameters_and_genesis() {
    assert_pinned(
        "parameters",
        hex(encode(&Parameters::default())),
        PARAMETERS,
    );
    let genesis = genesis();
    let validators: String = (0..)
        .zip(&genesis.validators)
        .map(|(n, v)| text(&format!("node{n}")) + &hex(v.public_key) + &number(1))
        .collect();
    let expected = [
        "00000002".to_owned(),
        text("sample"),
        "0000018bcfe56800".to_owned(),
        PARAMETERS.to_owned(),
        number(4) + &validators,
        number(1) + &text("alice") + &hex(address(20)) + &number(1_000_000),
    ];
    assert_pinned("the genesis", hex(encode(&genesis)), expected.concat());
    assert_pinned(
        "chain ids",
        genesis.chain_id(),
        "5e10f151f5978670d3ddf67533d6861759415d3faa793cd8de027269f4a1a235",
    );
}

/// The very text of the file: what operators keep, publish and compare.
#[test]
fn the_genesis_file() {
    let text = genesis().to_json();
    let digest = hash(Domain::Genesis, text.as_bytes());
    assert_pinned(
        "the genesis file",
        digest,
        "2c058b592fb9654e0b0873365c789b68149a7b40ebe298414ac4de30f1719199",
    );
}

#[test]
fn a_validator_set() {
    let set = validators();
    let one = |v: &ledger::validators::Validator| {
        hex(v.address) + &hex(v.public_key) + &number(v.power.0)
    };
    let expected = number(4) + &set.iter().map(one).collect::<String>();
    assert_pinned("validator sets", hex(encode(&set)), expected);
    assert_pinned(
        "the hashes of validator sets",
        set.hash(),
        "5a411fd46f872d1fcd97dec9d732ed71910dea9e2e057a02090f14952d507e7a",
    );
}

#[test]
fn operations_in_the_order_of_their_numbers() {
    let (name, one) = (text("notes"), text("k"));
    let expected = [
        "00000000".to_owned() + &"aa".repeat(32) + &number(5),
        format!("00000001{name}{}{}", number(1), "bb".repeat(32)),
        format!("00000002{name}{}", number(0)),
        format!("00000003{name}{one}{}01{}", text("value"), number(7)),
        format!("00000004{name}{one}00"),
        format!("0000000500000000{}{}", key(9).public_key(), number(3)),
        format!("0000000500000001{PARAMETERS}"),
    ];
    let operations = operations();
    assert_eq!(operations.len(), expected.len());
    for (operation, expected) in operations.iter().zip(expected) {
        assert_pinned(&format!("{operation:?}"), hex(encode(operation)), expected);
    }
}

#[test]
fn a_transaction() {
    let signed = transaction(operations());
    let all: String = operations().iter().map(|o| hex(encode(o))).collect();
    let payload = [
        hex(CHAIN),
        hex(key(1).public_key()),
        number(258),
        number(1000),
        number(7) + &all,
    ];
    let payload = payload.concat();
    assert_pinned(
        "what a sender signs",
        hex(encode(&signed.transaction)),
        &payload,
    );
    let signature = key(1).sign(Domain::TransactionPayload, &hex::decode(&payload).unwrap());
    assert_pinned("a sender's signature", signed.signature, signature);
    assert_pinned(
        "transactions",
        hex(encode(&signed)),
        payload + &hex(signature),
    );
    assert_pinned(
        "transaction ids",
        signed.id(),
        "2e8fbea32d7bf005bd9b0d52a5ce03722b02fb4fb36578b83f8082316164e32e",
    );
}

#[test]
fn an_envelope_and_an_attestation() {
    let envelope = envelope();
    let list = number(2)
        + &envelope
            .transactions
            .iter()
            .map(|t| hex(encode(t)))
            .collect::<String>();
    let head = [hex(key(2).public_key()), number(3), number(4), number(100)].concat();
    let contents = hash(Domain::Envelope, &hex::decode(&list).unwrap());
    let signed = hex::decode(format!("{CHAIN}{head}{contents}")).unwrap();
    let signature = key(2).sign(Domain::Envelope, &signed);
    assert_pinned(
        "envelopes",
        hex(encode(&envelope)),
        format!("{head}{list}{signature}"),
    );

    let attestation = attestation();
    let claim = number(100) + &"55".repeat(32);
    let signed = hex::decode(format!("{CHAIN}{claim}")).unwrap();
    let signature = key(2).sign(Domain::Attestation, &signed);
    let expected = format!("{claim}{}{signature}", key(2).public_key());
    assert_pinned("attestations", hex(encode(&attestation)), expected);
    assert_eq!(encode(&attestation).len(), 136);
}

#[test]
fn a_header_and_a_block() {
    let set = validators().hash();
    let expected = [
        "00000002".to_owned(),
        hex(CHAIN),
        number(258),
        "00000002".to_owned(),
        "11".repeat(32),
        "22".repeat(32),
        "0000018bcfe56800".to_owned(),
        hex(address(1)),
        "32".repeat(32),
        "33".repeat(32),
        "44".repeat(32),
        hex(set),
        hex(set),
    ];
    let expected = expected.concat();
    assert_eq!(expected.len(), 2 * 312);
    assert_pinned("headers", hex(encode(&header())), &expected);
    assert_pinned(
        "block hashes",
        header().hash(),
        "c81025d3803a58678bc789234b5402adc3c388920a82c7d5139767997a0df4c5",
    );

    let block = block();
    let transaction = hex(encode(&block.transactions[0]));
    let certificate = hex(encode(&certificate_by(3, BlockHash([0x11; 32]))));
    let whole = format!("{expected}{}{transaction}01{certificate}", number(1));
    assert_pinned("blocks", hex(encode(&block)), &whole);

    let certificate = certificate_by(4, header().hash());
    let bytes = hex(encode(&certificate));
    let committed = CommittedBlock {
        block,
        certificate,
        outcomes: vec![Outcome {
            code: Code::VersionMismatch,
            found: 9,
        }],
    };
    let whole = format!("{whole}{bytes}{}00000007{}", number(1), number(9));
    assert_pinned("committed blocks", hex(encode(&committed)), whole);
}

#[test]
fn votes_proposals_and_certificates() {
    let (height, round, me) = (number(258), "00000003", address(1));
    let block = BlockHash([0x66; 32]);
    let precommit = format!("00000001{height}{round}01{block}{me}");
    assert_pinned("precommits", hex(encode(&vote(Some(block)))), &precommit);
    let signed = vote(Some(block)).sign_bytes(&CHAIN);
    assert_pinned(
        "what a voter signs",
        hex(signed),
        format!("{CHAIN}{precommit}"),
    );
    let mut nil = vote(None);
    nil.kind = VoteKind::Prevote;
    let expected = format!("00000000{height}{round}00{me}");
    assert_pinned("prevotes for nothing", hex(encode(&nil)), expected);
    let expected = format!("{height}{round}{block}0100000001{me}");
    assert_pinned("proposals", hex(encode(&proposal())), expected);

    let certificate = certificate_by(3, header().hash());
    let one = |s: &ledger::certificate::CommitSignature| hex(s.validator) + &hex(s.signature);
    let signatures: String = certificate.signatures.iter().map(one).collect();
    let expected = format!(
        "{height}{round}{}{}{signatures}",
        header().hash(),
        number(3)
    );
    assert_pinned("certificates", hex(encode(&certificate)), expected);
    assert_pinned(
        "the hashes of certificates",
        certificate.hash(),
        "a558b5c997ff8e8efb054849ed8472dcb9ab1a3132ee3e108541a7fcf1263f0a",
    );
}

#[test]
fn outcomes_and_the_transactions_root() {
    let numbers: Vec<_> = (0..=13).map(Code::from_number).collect();
    assert_eq!(numbers[13], None, "a code beyond the last");
    for (n, code) in (0u32..13).zip(numbers.into_iter().flatten()) {
        assert_eq!(u32::from(code as u16), n, "{code:?}");
        let outcome = Outcome { code, found: 9 };
        assert_pinned(
            "outcomes",
            hex(encode(&outcome)),
            format!("{n:08x}{}", number(9)),
        );
    }
    let failed = Outcome::from(Code::VersionMismatch);
    let leaves = [
        (TxId([1; 32]), &Outcome::APPLIED),
        (TxId([2; 32]), &failed),
        (TxId([3; 32]), &Outcome::APPLIED),
    ];
    for (count, root) in [
        (
            0,
            "4a7fea180bb629e530e3194d3e6eb69f957e55f6311a595fa0c861d6f961a1b9",
        ),
        (
            1,
            "ae229310f2657dd2feb6fcd7917b977f09b7ff33cc379b83549f8b3ae6709636",
        ),
        (
            3,
            "f747346de43bbf6abc6166a72df178d8eb9a7c507994168f088406c0a14df675",
        ),
    ] {
        let found = transactions_root(leaves.into_iter().take(count));
        assert_pinned(&format!("the root of {count} transactions"), found, root);
    }
}

#[test]
fn the_list_of_transactions() {
    let ids = [1, 2, 3].map(|n| TxId([n; 32]));
    for (count, expected) in [
        (
            0,
            "68aa2e2ee5dff96e3355e6c7ee373e3d6a4e17f75f9518d843709c0c9bc3e3d4",
        ),
        (
            1,
            "3cec3a3d4edfc654b43c0beb1cecc8a07f10205bf5565bba094edbd511226281",
        ),
        (
            3,
            "07c84cde474980d08454e348d5fcd82c754449d9ee7f449c1de93b30e00e1c48",
        ),
    ] {
        let found = transaction_ids_hash(ids.into_iter().take(count));
        assert_pinned(&format!("the list of {count} ids"), found, expected);
    }
}

#[test]
fn keys_and_places_of_entries() {
    let record = || Key::Record {
        space: "notes".to_owned(),
        key: b"k".to_vec(),
    };
    let proposal = Proposal::Validator {
        public_key: key(9).public_key(),
        power: Power(3),
    };
    let approvals = format!("0000000200000000{}{}", key(9).public_key(), number(3));
    let entries = [
        (
            Key::Parameters,
            "00000000".to_owned(),
            "0088420266dfd64d604627234a8a6c75cf6477c6fd5505df0d17c59959ae9ce2",
        ),
        (
            Key::Validators,
            "00000001".to_owned(),
            "01a5a89d0cc64baa342094ee6b9d6fe483128d7e7c6d0fb071addd0c9d008e43",
        ),
        (
            Key::Approvals(proposal),
            approvals,
            "02202812cb23355767156bc3eb0bd3e4f0aeb0a303dfc91e0c6f77f021cc546a",
        ),
        (
            Key::Account(Address([0xaa; 32])),
            "00000003".to_owned() + &"aa".repeat(32),
            "0390732fef12bd31e305dc4656875b116df94cda0ff4ac1b8af691834b9b91bd",
        ),
        (
            Key::Space("notes".to_owned()),
            "00000004".to_owned() + &text("notes"),
            "04e7436ea6b30680000000000000000000000000000000000000000000000000",
        ),
        (
            record(),
            "00000005".to_owned() + &text("notes") + &text("k"),
            "05e7436ea6b306808e914cdd1bcd70b7acb521460f828c39ceaef66fb18b0201",
        ),
    ];
    for (key, encoded, place) in entries {
        assert_pinned(&format!("the key {key:?}"), hex(key.encode()), encoded);
        assert_pinned(&format!("the place of {key:?}"), hex(key.place()), place);
    }
    assert_eq!(
        Key::space_subtree("notes"),
        Prefix::of(&record().place(), 64),
        "where a space's records are"
    );
}

#[test]
fn entries() {
    let account = Account {
        balance: Amount(1),
        nonce: Nonce(2),
        entries: 3,
    };
    let expected = number(1) + &number(2) + &number(3);
    assert_pinned("accounts", hex(encode(&account)), expected);
    let space = Space {
        owner: Address([0xaa; 32]),
        writers: vec![Address([0xbb; 32])],
        changes: 4,
    };
    let expected = ["aa".repeat(32), number(1), "bb".repeat(32), number(4)].concat();
    assert_pinned("spaces", hex(encode(&space)), expected);
    let record = Record {
        value: b"value".to_vec(),
        version: Version(5),
        writer: Address([0xaa; 32]),
        written_at: Height(6),
    };
    let expected = [text("value"), number(5), "aa".repeat(32), number(6)].concat();
    assert_pinned("records", hex(encode(&record)), expected);
    let approvals = Approvals(vec![Address([0xaa; 32])]);
    let expected = number(1) + &"aa".repeat(32);
    assert_pinned("approvals", hex(encode(&approvals)), expected);
    let set = validators();
    let sets = ValidatorSets {
        current: set.clone(),
        next: set.clone(),
        after_next: set.clone(),
    };
    let expected = hex(encode(&set)).repeat(3);
    assert_pinned("validator sets of the state", hex(encode(&sets)), expected);
}

/// Everything above together: the state that the sample genesis starts from.
#[test]
fn the_state_of_a_genesis() {
    let root = State::genesis(&genesis()).unwrap().root();
    assert_pinned(
        "the state of a genesis",
        root,
        "670b911ef36b48ae14e9156f2d03e7332c13616ca8e8d44e66d13fc7ee8f606b",
    );
    assert_ne!(root, StateRoot::from(Hash::default()));
}
