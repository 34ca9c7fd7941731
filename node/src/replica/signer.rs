//! Who signed a message: one rule for the replica, which believes nothing else, and for the shell, which forwards nothing
//! else. Each checks signatures with a memory of its own ([`verified`](super::verified)).

use super::{
    context::Content,
    message::{CompactBlock, Message, SignedProposal, SignedVote, VoteSet},
};
use ledger::{
    certificate::BlockProposal,
    hash::Address,
    keys::{PublicKey, Signature},
    validators::ValidatorSet,
};

/// Why a message has no signer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSigner {
    /// Who is said to have signed may not say this, as far as this set knows.
    Stranger,
    /// A signature is false: so it is to everybody, whatever set they know.
    Forged,
}

/// Who signed a message, if the signatures hold and the signers are of this set and may say it. Of several, the first.
///
/// # Errors
/// [`NoSigner`].
pub fn signer(
    message: &Message,
    set: &ValidatorSet,
    mut holds: impl FnMut(Content, &PublicKey, &Signature) -> bool,
) -> Result<Address, NoSigner> {
    match message {
        Message::Vote(vote) => voter(vote, set, &mut holds),
        Message::Proposal(
            SignedProposal {
                proposal,
                signature,
            },
            _,
        ) => {
            let proposer = set.proposer(proposal.height, proposal.round);
            if proposer.address != proposal.proposer {
                return Err(NoSigner::Stranger);
            }
            let content = Content::Proposal((*proposal).into());
            if holds(content, &proposer.public_key, signature) {
                Ok(proposal.proposer)
            } else {
                Err(NoSigner::Forged)
            }
        }
        Message::Polka(VoteSet(votes))
        | Message::RoundEnded(VoteSet(votes))
        | Message::RoundSkipped(VoteSet(votes)) => {
            if votes.len() > 2 * set.len() {
                return Err(NoSigner::Stranger);
            }
            let mut first = Err(NoSigner::Stranger);
            for vote in votes {
                let address = voter(vote, set, &mut holds)?;
                first = first.or(Ok(address));
            }
            first
        }
    }
}

fn voter(
    vote: &SignedVote,
    set: &ValidatorSet,
    holds: &mut impl FnMut(Content, &PublicKey, &Signature) -> bool,
) -> Result<Address, NoSigner> {
    let validator = set.get(&vote.vote.validator).ok_or(NoSigner::Stranger)?;
    let content = Content::Vote(vote.vote.into());
    if holds(content, &validator.public_key, &vote.signature) {
        Ok(validator.address)
    } else {
        Err(NoSigner::Forged)
    }
}

/// Whether a block's content is what its proposal's signature covers: all that stands beside the signature.
pub fn is_signed_for(proposal: &BlockProposal, compact: &CompactBlock) -> bool {
    let CompactBlock {
        header,
        transactions,
        parent_certificate,
    } = compact;
    let ids = transactions.iter().copied();
    header.check_body(ids, parent_certificate.as_ref()).is_ok() && header.hash() == proposal.block
}
