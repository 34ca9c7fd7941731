//! Two signed contradictions are proof; anything that an honest validator, or somebody without the key, could have made
//! is not. It is the same after a way through JSON.

use super::*;
use ledger::{
    certificate::{BlockProposal, Vote, VoteKind},
    hash::BlockHash,
    keys::SecretKey,
    units::Round,
};

const CHAIN: ChainId = ChainId([5; 32]);

fn key() -> SecretKey {
    SecretKey::from_seed([1; 32])
}

fn vote(round: u32, kind: VoteKind, block: Option<u8>) -> SignedVote {
    let vote = Vote {
        kind,
        height: Height(7),
        round: Round(round),
        block: block.map(|b| BlockHash([b; 32])),
        validator: key().address(),
    };
    let signature = vote.sign(&CHAIN, &key());
    SignedVote { vote, signature }
}

fn proposal(proof_of_lock: Option<Round>) -> SignedProposal {
    let proposal = BlockProposal {
        height: Height(7),
        round: Round(1),
        block: BlockHash([3; 32]),
        proof_of_lock,
        proposer: key().address(),
    };
    let signature = proposal.sign(&CHAIN, &key());
    SignedProposal {
        proposal,
        signature,
    }
}

fn held(conflicts: Vec<Conflict>) -> Equivocation {
    Equivocation {
        chain: CHAIN,
        validator: key().address(),
        public_key: key().public_key(),
        height: Height(7),
        conflicts,
    }
}

fn votes(first: SignedVote, second: SignedVote) -> Equivocation {
    held(vec![Conflict::Votes { first, second }])
}

#[test]
fn two_contradictions_are_proof() {
    use VoteKind::{Precommit, Prevote};
    let one = vote(0, Prevote, Some(1));
    assert_eq!(votes(one, vote(0, Prevote, Some(2))).verify(), Ok(()));
    assert_eq!(votes(one, vote(0, Prevote, None)).verify(), Ok(()));
    let (first, second) = (proposal(None), proposal(Some(Round(0))));
    let both = held(vec![
        Conflict::Proposals { first, second },
        Conflict::Votes {
            first: vote(2, Precommit, Some(1)),
            second: vote(2, Precommit, Some(2)),
        },
    ]);
    assert_eq!(both.verify(), Ok(()));
    let text = serde_json::to_string(&both).unwrap();
    assert_eq!(serde_json::from_str::<Equivocation>(&text).unwrap(), both);
}

#[test]
fn what_an_honest_validator_or_a_stranger_makes_is_none() {
    use VoteKind::{Precommit, Prevote};
    let one = vote(0, Prevote, Some(1));
    assert_eq!(held(vec![]).verify(), Err(NoProof::Empty));
    assert_eq!(votes(one, one).verify(), Err(NoProof::Same));
    let other_round = vote(1, Prevote, Some(2));
    assert_eq!(
        votes(one, other_round).verify(),
        Err(NoProof::OtherPosition)
    );
    let other_step = vote(0, Precommit, Some(2));
    assert_eq!(votes(one, other_step).verify(), Err(NoProof::OtherPosition));
    let mut forged = vote(0, Prevote, Some(2));
    forged.signature = one.signature;
    assert_eq!(votes(one, forged).verify(), Err(NoProof::Signature));
    let good = votes(one, vote(0, Prevote, Some(2)));
    let chain = ChainId([6; 32]);
    let elsewhere = Equivocation {
        chain,
        ..good.clone()
    };
    assert_eq!(elsewhere.verify(), Err(NoProof::Signature));
    let height = Height(8);
    let elsewhen = Equivocation {
        height,
        ..good.clone()
    };
    assert_eq!(elsewhen.verify(), Err(NoProof::OtherPosition));
    let public_key = SecretKey::from_seed([2; 32]).public_key();
    let of_another = Equivocation { public_key, ..good };
    assert_eq!(of_another.verify(), Err(NoProof::OtherKey));
}
