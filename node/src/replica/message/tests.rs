//! The bytes of consensus messages and of the write-ahead log, pinned field by field as `docs/formats.md` draws them. When one of
//! these fails, replicas of before and after do not understand each other, or a node does not read its own promises.

use super::*;
use ledger::{
    certificate::VoteKind,
    hash::{
        CertificateHash, ChainId, StateRoot, TransactionIdsHash, TransactionsRoot, ValidatorSetHash,
    },
    units::TimestampMs,
};
use std::fmt::Debug;

const VALIDATOR: Address = Address([0xa1; 32]);
const BLOCK: BlockHash = BlockHash([0xb1; 32]);
const SIGNATURE: Signature = Signature([0x51; 64]);

fn vote() -> SignedVote {
    SignedVote {
        vote: Vote {
            kind: VoteKind::Precommit,
            height: Height(258),
            round: Round(3),
            block: Some(BLOCK),
            validator: VALIDATOR,
        },
        signature: SIGNATURE,
    }
}

fn proposal() -> SignedProposal {
    SignedProposal {
        proposal: BlockProposal {
            height: Height(258),
            round: Round(3),
            block: BLOCK,
            proof_of_lock: None,
            proposer: VALIDATOR,
        },
        signature: SIGNATURE,
    }
}

fn header() -> Header {
    Header {
        protocol_version: 2,
        chain: ChainId([1; 32]),
        height: Height(258),
        round: Round(2),
        parent: BlockHash([2; 32]),
        parent_certificate: CertificateHash([3; 32]),
        time: TimestampMs(4),
        proposer: VALIDATOR,
        transaction_ids: TransactionIdsHash([4; 32]),
        transactions_root: TransactionsRoot([5; 32]),
        state_root: StateRoot([6; 32]),
        validators: ValidatorSetHash([7; 32]),
        next_validators: ValidatorSetHash([8; 32]),
    }
}

fn vote_bytes() -> String {
    let (block, validator) = ("b1".repeat(32), "a1".repeat(32));
    format!("00000001000000000000010200000003{}", "01") + &block + &validator + &"51".repeat(64)
}

fn proposal_bytes() -> String {
    let (block, validator) = ("b1".repeat(32), "a1".repeat(32));
    format!("000000000000010200000003{block}00{validator}") + &"51".repeat(64)
}

#[track_caller]
fn assert_pinned<T: Serialize + Debug>(value: &T, expected: &str) {
    let found = hex::encode(codec::encode(value));
    assert_eq!(
        found, expected,
        "the format has changed, see docs/formats.md: {value:?}"
    );
}

#[test]
fn the_bytes_of_messages_stay() {
    let header = hex::encode(codec::encode(&header()));
    let list = format!("{:016x}{}", 1, vote_bytes());
    let votes = || VoteSet(vec![vote()]);
    let compact = CompactBlock {
        header: self::header(),
        transactions: vec![TxId([9; 32])],
        parent_certificate: None,
    };
    let compact_bytes = format!("{header}{:016x}{}00", 1, "09".repeat(32));
    let messages = [
        (Message::Vote(vote()), "00000000".to_owned() + &vote_bytes()),
        (
            Message::Proposal(proposal(), Box::new(compact)),
            format!("00000001{}{compact_bytes}", proposal_bytes()),
        ),
        (Message::Polka(votes()), format!("00000002{list}")),
        (Message::RoundEnded(votes()), format!("00000003{list}")),
        (Message::RoundSkipped(votes()), format!("00000004{list}")),
    ];
    for (message, expected) in messages {
        assert_pinned(&message, &expected);
        let bytes = hex::decode(&expected).unwrap();
        assert_eq!(Message::decode(&bytes).unwrap(), message);
    }
}

#[test]
fn the_bytes_of_the_write_ahead_log_stay() {
    let block = UnverifiedBlock {
        header: header(),
        transactions: vec![],
        parent_certificate: None,
    };
    let block_bytes = format!("{}{:016x}00", hex::encode(codec::encode(&header())), 0);
    let judged = WalRecord::Judged {
        round: Round(3),
        valid_round: Some(Round(1)),
        proposer: VALIDATOR,
        block: BLOCK,
        valid: true,
        synced: false,
    };
    let judged_bytes = format!(
        "000000030100000001{}{}0100",
        "a1".repeat(32),
        "b1".repeat(32)
    );
    let list = format!("{:016x}{}", 1, vote_bytes());
    let records = [
        (WalRecord::Vote(vote()), vote_bytes()),
        (WalRecord::Proposal(proposal()), proposal_bytes()),
        (WalRecord::Block(Box::new(block)), block_bytes),
        (judged, judged_bytes),
        (
            WalRecord::Timeout {
                kind: TimeoutKind::FinalizeHeight,
                round: Round(3),
            },
            "0000000400000003".to_owned(),
        ),
        (WalRecord::Polka(VoteSet(vec![vote()])), list),
    ];
    for (number, (record, expected)) in records.into_iter().enumerate() {
        assert_pinned(&record, &format!("{number:08x}{expected}"));
    }
    for (number, kind) in [
        TimeoutKind::Propose,
        TimeoutKind::Prevote,
        TimeoutKind::Precommit,
        TimeoutKind::Rebroadcast,
        TimeoutKind::FinalizeHeight,
    ]
    .into_iter()
    .enumerate()
    {
        assert_pinned(&kind, &format!("{number:08x}"));
    }
}

/// Lists are bounded by more than the message's bytes: none is empty, none is longer than two votes a validator.
#[test]
fn lists_of_votes_are_bounded() {
    let most = 2 * ledger::validators::VALIDATORS_MAX;
    for (count, fits) in [(0, false), (1, true), (most, true), (most + 1, false)] {
        let bytes = codec::encode(&Message::Polka(VoteSet(vec![vote(); count])));
        assert_eq!(Message::decode(&bytes).is_ok(), fits, "{count} votes");
    }
}
