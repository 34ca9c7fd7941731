//! What replicas say to each other about a height, in the canonical encoding, and the same for the write-ahead log.
//!
//! A proposal travels as the block's header and the *ids* of its transactions: peers have the bodies already, and ask
//! for those they lack.

use super::context as ctx;
use arc_malachitebft_core_types as core;
use ledger::{
    block::{Block, Header, UnverifiedBlock},
    certificate::{BlockProposal, Certificate, Vote},
    codec::{self, CodecError},
    hash::{Address, BlockHash, TxId},
    keys::Signature,
    units::{Height, Round},
};
use serde::{Deserialize, Serialize};

/// Bytes of an encoded consensus message: the ids of the largest block, and room.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Transactions of a block that a proposal may name.
pub const PROPOSAL_TRANSACTIONS_MAX: usize = 64 << 10;

/// A vote with its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedVote {
    /// The vote.
    pub vote: Vote,
    /// The validator's signature.
    pub signature: Signature,
}

/// A proposal with its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedProposal {
    /// The proposal.
    pub proposal: BlockProposal,
    /// The proposer's signature.
    pub signature: Signature,
}

/// A block without its transactions' bodies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompactBlock {
    /// The header.
    pub header: Header,
    /// The transactions, by id, in order.
    pub transactions: Vec<TxId>,
    /// The parent's certificate.
    pub parent_certificate: Option<Certificate>,
}

impl From<&Block> for CompactBlock {
    fn from(block: &Block) -> Self {
        Self {
            header: block.header.clone(),
            transactions: block.transactions.iter().map(|t| t.id()).collect(),
            parent_certificate: block.parent_certificate.clone(),
        }
    }
}

/// Votes that justify a round: a quorum's prevotes for a block, or enough votes to leave a round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteSet(pub Vec<SignedVote>);

/// What replicas say to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// A vote.
    Vote(SignedVote),
    /// A proposal, with its block.
    Proposal(SignedProposal, Box<CompactBlock>),
    /// A quorum's prevotes for a block in one round.
    Polka(VoteSet),
    /// A quorum's precommits of one round, which let a replica leave it.
    RoundEnded(VoteSet),
    /// Votes of more than a third in a later round, which let a replica skip to it.
    RoundSkipped(VoteSet),
}

impl Message {
    /// Decodes one from outside.
    ///
    /// # Errors
    /// [`CodecError`]; lists longer than any block or validator set allows are malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let message = codec::decode(bytes, MESSAGE_BYTES_MAX)?;
        let bounded = match &message {
            Self::Vote(_) => true,
            Self::Proposal(_, block) => block.transactions.len() <= PROPOSAL_TRANSACTIONS_MAX,
            Self::Polka(votes) | Self::RoundEnded(votes) | Self::RoundSkipped(votes) => {
                (1..=2 * ledger::validators::VALIDATORS_MAX).contains(&votes.0.len())
            }
        };
        if bounded {
            Ok(message)
        } else {
            Err(CodecError::Malformed("a list is empty or too long".into()))
        }
    }

    /// The height it is about.
    pub fn height(&self) -> Height {
        match self {
            Self::Vote(v) => v.vote.height,
            Self::Proposal(p, _) => p.proposal.height,
            Self::Polka(votes) | Self::RoundEnded(votes) | Self::RoundSkipped(votes) => {
                votes.0.first().map_or(Height::GENESIS, |v| v.vote.height)
            }
        }
    }
}

/// One thing that must be known again after a crash, in the order it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WalRecord {
    /// A vote, own or another's.
    Vote(SignedVote),
    /// A proposal, own or another's.
    Proposal(SignedProposal),
    /// A whole block, before the first vote on it.
    Block(Box<UnverifiedBlock>),
    /// The verdict on a block that was proposed.
    Judged {
        /// The round it was proposed in.
        round: Round,
        /// The round of a polka for it before, if any.
        valid_round: Option<Round>,
        /// Who proposed it.
        proposer: Address,
        /// The block.
        block: BlockHash,
        /// Whether it is valid after its parent.
        valid: bool,
        /// Whether it came by block sync.
        synced: bool,
    },
    /// A timeout that was acted on.
    Timeout {
        /// Which, as the library numbers them.
        kind: TimeoutKind,
        /// Of which round.
        round: Round,
    },
    /// A quorum's prevotes that came as one.
    Polka(VoteSet),
}

/// The timeouts that change what a replica would vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimeoutKind {
    /// No proposal in time.
    Propose,
    /// No quorum for one block among the prevotes.
    Prevote,
    /// No quorum for one block among the precommits.
    Precommit,
    /// Time to repeat oneself.
    Rebroadcast,
    /// The time to collect more precommits is over.
    FinalizeHeight,
}

impl From<SignedVote> for core::SignedVote<ctx::Chain> {
    fn from(v: SignedVote) -> Self {
        core::SignedMessage::new(v.vote.into(), v.signature)
    }
}

impl From<SignedProposal> for core::SignedProposal<ctx::Chain> {
    fn from(p: SignedProposal) -> Self {
        core::SignedMessage::new(p.proposal.into(), p.signature)
    }
}

/// The library's signed vote as ours, unless its round is none.
pub fn from_core_vote(vote: &core::SignedVote<ctx::Chain>) -> Option<SignedVote> {
    Some(SignedVote {
        vote: vote.message.to_ledger()?,
        signature: vote.signature,
    })
}

/// The library's signed proposal as ours, unless its round is none.
pub fn from_core_proposal(proposal: &core::SignedProposal<ctx::Chain>) -> Option<SignedProposal> {
    let signature = proposal.signature;
    Some(SignedProposal {
        proposal: proposal.message.to_ledger()?,
        signature,
    })
}

#[cfg(test)]
mod tests;
