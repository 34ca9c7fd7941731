//! What a header must say, given where it stands: the part of a block's validity that needs no execution.
//!
//! One piece for all who judge blocks: a replica that votes ([`Standing::check`]), and an audit of a log, which may not
//! know every set or the first parent and then checks the parts that it can.
//!
//! Whether a time is *timely* is no part of this: it is a matter of voting, and validity reads no clock.

use super::{Header, transaction_ids_hash};
use crate::{
    certificate::{Certificate, CertificateError},
    genesis::PROTOCOL_VERSION,
    hash::{Address, BlockHash, CertificateHash, ChainId, TxId, ValidatorSetHash},
    units::{Height, TimestampMs},
    validators::ValidatorSet,
};

/// No block is dated later: far, and far from overflow.
pub const TIME_MAX: TimestampMs = TimestampMs(1 << 50);

/// Why a header cannot stand where it does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misplaced {
    /// Another protocol.
    #[error("its protocol version is {0}, this chain's is {PROTOCOL_VERSION}")]
    Version(u32),
    /// Another chain.
    #[error("it is of chain {0:.8}")]
    Chain(ChainId),
    /// A height that does not follow.
    #[error("its height is {found}, the next is {expected}")]
    Height {
        /// Its height.
        found: Height,
        /// The next.
        expected: Height,
    },
    /// Another parent.
    #[error("its parent is {found}, the block before is {expected}")]
    Parent {
        /// The parent it names.
        found: BlockHash,
        /// The block before.
        expected: BlockHash,
    },
    /// Another proposer than the one whose turn it was.
    #[error("its proposer is {found}, in its round it was {expected}'s turn")]
    Proposer {
        /// Who it names.
        found: Address,
        /// Whose turn it was.
        expected: Address,
    },
    /// Time stands still or goes back.
    #[error("its time {found} is not later than its parent's, {parent}")]
    Time {
        /// Its time.
        found: TimestampMs,
        /// The parent's.
        parent: TimestampMs,
    },
    /// Too far in the future for any chain.
    #[error("its time {0} is too far away")]
    TimeTooFar(TimestampMs),
    /// Voted on by others than its parent announced.
    #[error("its validators are {found}, its parent announced {expected}")]
    Validators {
        /// The set it names.
        found: ValidatorSetHash,
        /// The set announced.
        expected: ValidatorSetHash,
    },
    /// The transactions beside it are not those it names.
    #[error("the transactions are not those its header names")]
    OtherTransactions,
    /// The certificate beside it is not the one it names.
    #[error("the parent's certificate is not the one its header names")]
    OtherParentCertificate,
    /// The certificate it names proves nothing.
    #[error("the parent's certificate: {0}")]
    ParentCertificate(CertificateError),
}

/// Where a block stands, or would stand.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// The chain.
    pub chain: &'a ChainId,
    /// The block before; none for the first.
    pub parent: Option<&'a Header>,
    /// Who votes at its height.
    pub voters: &'a ValidatorSet,
    /// Who voted on the parent.
    pub parent_voters: &'a ValidatorSet,
}

impl Standing<'_> {
    /// Checks a header, and the parent's certificate beside it, against where it stands.
    ///
    /// # Errors
    /// [`Misplaced`] names the first fault.
    pub fn check(
        &self,
        header: &Header,
        parent_certificate: Option<&Certificate>,
    ) -> Result<(), Misplaced> {
        header.check_alone(self.chain)?;
        header.check_after(self.parent)?;
        header.check_proposer(self.voters)?;
        header.check_parent_certificate(parent_certificate)?;
        if let (Some(parent), Some(certificate)) = (self.parent, parent_certificate) {
            certificate
                .verify_for(parent.height, header.parent, self.chain, self.parent_voters)
                .map_err(Misplaced::ParentCertificate)?;
        }
        Ok(())
    }
}

impl Header {
    /// What holds wherever it stands in `chain`.
    ///
    /// # Errors
    /// [`Misplaced`].
    pub fn check_alone(&self, chain: &ChainId) -> Result<(), Misplaced> {
        if self.protocol_version != PROTOCOL_VERSION {
            return Err(Misplaced::Version(self.protocol_version));
        }
        if self.chain != *chain {
            return Err(Misplaced::Chain(self.chain));
        }
        if self.time >= TIME_MAX {
            return Err(Misplaced::TimeTooFar(self.time));
        }
        Ok(())
    }

    /// Whether it follows its parent; the first block has none.
    ///
    /// # Errors
    /// [`Misplaced`].
    pub fn check_after(&self, parent: Option<&Self>) -> Result<(), Misplaced> {
        let before = parent.map_or(Height::GENESIS, |p| p.height);
        let (found, expected) = (self.height, before.next());
        if found != expected {
            return Err(Misplaced::Height { found, expected });
        }
        let (found, expected) = (self.parent, parent.map(Self::hash).unwrap_or_default());
        if found != expected {
            return Err(Misplaced::Parent { found, expected });
        }
        let (found, parent_time) = (self.time, parent.map_or(TimestampMs(0), |p| p.time));
        if found <= parent_time {
            let parent = parent_time;
            return Err(Misplaced::Time { found, parent });
        }
        match parent.map(|p| p.next_validators) {
            Some(expected) if expected != self.validators => Err(Misplaced::Validators {
                found: self.validators,
                expected,
            }),
            _ => Ok(()),
        }
    }

    /// Whether it was its proposer's turn.
    ///
    /// # Errors
    /// [`Misplaced::Proposer`].
    pub fn check_proposer(&self, voters: &ValidatorSet) -> Result<(), Misplaced> {
        let expected = voters.proposer(self.height, self.round).address;
        let found = self.proposer;
        if found == expected {
            Ok(())
        } else {
            Err(Misplaced::Proposer { found, expected })
        }
    }

    /// Whether what stands beside it is what it names. Whether that is any good is another question.
    ///
    /// # Errors
    /// [`Misplaced::OtherTransactions`], [`Misplaced::OtherParentCertificate`].
    pub fn check_body(
        &self,
        transactions: impl IntoIterator<Item = TxId>,
        parent_certificate: Option<&Certificate>,
    ) -> Result<(), Misplaced> {
        if transaction_ids_hash(transactions) != self.transaction_ids {
            return Err(Misplaced::OtherTransactions);
        }
        self.check_parent_certificate(parent_certificate)
    }

    /// Whether the parent's certificate beside it is the one it names: none for the first block.
    ///
    /// # Errors
    /// [`Misplaced::OtherParentCertificate`].
    pub fn check_parent_certificate(
        &self,
        parent_certificate: Option<&Certificate>,
    ) -> Result<(), Misplaced> {
        let is_first = self.height == Height::GENESIS.next();
        let holds = match parent_certificate {
            None => is_first && self.parent_certificate == CertificateHash::default(),
            Some(certificate) => !is_first && certificate.hash() == self.parent_certificate,
        };
        holds.then_some(()).ok_or(Misplaced::OtherParentCertificate)
    }
}
