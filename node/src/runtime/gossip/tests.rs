//! Which messages are forwarded, which are of use, which count against who forwarded them; and that the queues of the
//! channels do not wait for each other.

use super::*;
use crate::replica::message::{CompactBlock, SignedProposal, SignedVote, VoteSet};
use ledger::{
    block::{Header, transaction_ids_hash},
    certificate::{BlockProposal, Certificate, SignedContent, Vote, VoteKind},
    hash::{BlockHash, ChainId, StateRoot, TransactionsRoot, TxId},
    keys::SecretKey,
    units::{Power, Round, TimestampMs},
    validators::{Validator, ValidatorSet},
};
use std::sync::mpsc::channel;

const CHAIN: ChainId = ChainId([7; 32]);

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

fn set(seeds: &[u8]) -> ValidatorSet {
    let validator = |seed: &u8| Validator::new(key(*seed).public_key(), Power(1));
    ValidatorSet::new(seeds.iter().map(validator).collect()).unwrap()
}

/// After height 10: 1 and 2 vote on 11, 2 and 3 on 12.
fn judged(message: &Message) -> (Verdict, bool) {
    let sets = ValidatorSets {
        current: set(&[1]),
        next: set(&[1, 2]),
        after_next: set(&[2, 3]),
    };
    let mut verified = Verified::new(CHAIN);
    let holds = |content, key: &_, signature: &_| verified.holds(content, key, signature);
    judge(message, Height(10), &sets, holds)
}

fn signed(seed: u8, height: u64) -> SignedVote {
    let vote = Vote {
        kind: VoteKind::Prevote,
        height: Height(height),
        round: Round(0),
        block: None,
        validator: key(seed).address(),
    };
    SignedVote {
        vote,
        signature: vote.sign(&CHAIN, &key(seed)),
    }
}

fn forged(seed: u8, height: u64) -> SignedVote {
    let mut vote = signed(seed, height);
    vote.signature.0[40] ^= 1;
    vote
}

const FORWARDED: (Verdict, bool) = (Verdict::Accept, true);
const HINT: (Verdict, bool) = (Verdict::Ignore, true);
const NOTHING: (Verdict, bool) = (Verdict::Ignore, false);
const LIE: (Verdict, bool) = (Verdict::Reject, false);

#[test]
fn a_vote_is_forwarded_if_it_is_timely_and_true() {
    for (what, vote, expected) in [
        ("under way", signed(1, 11), FORWARDED),
        ("of the next height", signed(3, 12), FORWARDED),
        ("of another height's validator", signed(3, 11), NOTHING),
        ("of a stranger", signed(9, 11), NOTHING),
        ("forged", forged(1, 11), LIE),
        ("forged, of the next height", forged(3, 12), LIE),
        ("past", signed(1, 10), NOTHING),
        ("forged and past", forged(1, 10), NOTHING),
        ("far ahead", signed(1, 13), HINT),
        ("forged and far ahead", forged(1, 13), HINT),
    ] {
        assert_eq!(judged(&Message::Vote(vote)), expected, "{what}");
    }
}

#[test]
fn of_many_votes_each_must_hold() {
    for (what, votes, expected) in [
        ("all hold", vec![signed(1, 11), signed(2, 11)], FORWARDED),
        (
            "the last is forged",
            vec![signed(1, 11), forged(2, 11)],
            LIE,
        ),
        (
            "the last is a stranger's",
            vec![signed(1, 11), signed(9, 11)],
            NOTHING,
        ),
        ("more than there can be", vec![signed(1, 11); 5], NOTHING),
    ] {
        assert_eq!(
            judged(&Message::RoundEnded(VoteSet(votes))),
            expected,
            "{what}"
        );
    }
}

/// What stands beside a proposal's signature is covered by it: who changes it cannot have it forwarded.
#[test]
fn a_proposal_is_forwarded_with_its_own_block_only() {
    let parent = Certificate {
        height: Height(10),
        round: Round(0),
        block: BlockHash([2; 32]),
        signatures: vec![],
    };
    let transactions = vec![TxId([3; 32])];
    let set = set(&[1, 2]);
    let proposer = [1, 2]
        .into_iter()
        .find(|seed| key(*seed).address() == set.proposer(Height(11), Round(0)).address)
        .unwrap();
    let header = Header {
        protocol_version: 2,
        chain: CHAIN,
        height: Height(11),
        round: Round(0),
        parent: parent.block,
        parent_certificate: parent.hash(),
        time: TimestampMs(4),
        proposer: key(proposer).address(),
        transaction_ids: transaction_ids_hash(transactions.iter().copied()),
        transactions_root: TransactionsRoot([5; 32]),
        state_root: StateRoot([6; 32]),
        validators: set.hash(),
        next_validators: set.hash(),
    };
    let own = CompactBlock {
        header,
        transactions,
        parent_certificate: Some(parent),
    };
    let proposed = |seed: u8, compact: CompactBlock| {
        let proposal = BlockProposal {
            height: Height(11),
            round: Round(0),
            block: own.header.hash(),
            proof_of_lock: None,
            proposer: key(seed).address(),
        };
        let signature = proposal.sign(&CHAIN, &key(seed));
        let signed = SignedProposal {
            proposal,
            signature,
        };
        judged(&Message::Proposal(signed, Box::new(compact)))
    };
    assert_eq!(proposed(proposer, own.clone()), FORWARDED);
    assert_eq!(proposed(3 - proposer, own.clone()), NOTHING, "not its turn");
    let changed = |change: &dyn Fn(&mut CompactBlock)| {
        let mut compact = own.clone();
        change(&mut compact);
        proposed(proposer, compact)
    };
    assert_eq!(changed(&|c| c.transactions.clear()), LIE, "transactions");
    assert_eq!(changed(&|c| c.parent_certificate = None), LIE, "parent");
    assert_eq!(changed(&|c| c.header.time.0 += 1), LIE, "header");
}

/// One lane's work hangs: its queue fills and gives back what is too much, while another lane goes on in order, also past
/// a message that makes its work panic.
#[test]
fn no_lane_waits_for_another() {
    let (stop, hang) = channel::<()>();
    let (begun, begins) = channel();
    let work = move |_: u32| {
        let _ = begun.send(());
        let _ = hang.recv();
    };
    let slow = Lane::start("slow", 2, vec![work]).unwrap();
    assert_eq!(slow.take(0), Ok(()));
    begins.recv().unwrap();
    let taken: Vec<_> = (1..=3).map(|i| slow.take(i)).collect();
    assert_eq!(taken, [Ok(()), Ok(()), Err(3)], "room for two");

    let (done, results) = channel();
    let work = move |i: u32| {
        assert_ne!(i, 1, "a bug");
        done.send(i).unwrap();
    };
    let quick = Lane::start("quick", 4, vec![work]).unwrap();
    (0..4).for_each(|i| assert_eq!(quick.take(i), Ok(())));
    drop(quick);
    assert_eq!(results.iter().collect::<Vec<_>>(), [0, 2, 3]);
    drop((stop, slow));
}
