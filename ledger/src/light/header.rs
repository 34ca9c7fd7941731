//! Believing a header far ahead of the validator set that one trusts: skipping verification.
//!
//! # What is checked
//! 1. The header is of this chain and protocol, and names the hash of the validator set that came with it.
//! 2. The certificate is for this header, and its signers hold more than 2/3 of that set's power.
//! 3. Of the *trusted* set's power, more than 1/3 signed too: at least one correct validator whom we already trusted vouches
//!    for the header, and with it for the new set. If both sets are the same, 2 says so already.
//!
//! # Trust
//! The trusted set comes from genesis or from the operator. That its keys are still good, that is, that the header lies within the
//! trusting period, is for the caller to judge: time is no part of this.
//!
//! # Cost
//! Two batches of at most `VALIDATORS_MAX` signatures: below 20 ms.

use crate::{
    block::CertifiedHeader,
    certificate::CertificateError,
    genesis::PROTOCOL_VERSION,
    hash::{BlockHash, ChainId, ValidatorSetHash},
    units::{Height, Power, TimestampMs},
    validators::ValidatorSet,
};

/// Why a header is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LightError {
    /// It is of another chain.
    #[error("the header is of chain {found}, this is {expected}")]
    OtherChain {
        /// Its chain.
        found: ChainId,
        /// Ours.
        expected: ChainId,
    },
    /// It speaks another version of the protocol.
    #[error(
        "the header is of protocol version {0}, this program speaks {PROTOCOL_VERSION}; use a program of that version"
    )]
    OtherProtocol(u32),
    /// It is of no block.
    #[error("height 0 is the genesis, which has no block")]
    NoBlock,
    /// The set that came with it is not the one it names.
    #[error("the header names validator set {expected}, with it came {found}")]
    OtherValidators {
        /// Hash of the set that came.
        found: ValidatorSetHash,
        /// Hash in the header.
        expected: ValidatorSetHash,
    },
    /// The certificate proves nothing.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Another block than the one that is trusted by its hash.
    #[error("the block at height {height} is {found}, the one that is trusted is {expected}")]
    OtherBlock {
        /// Its height.
        height: Height,
        /// Its hash.
        found: BlockHash,
        /// The hash that is trusted.
        expected: BlockHash,
    },
    /// It says that it comes right after the trusted block, and that one names another successor.
    #[error("the header of height {0} does not follow the trusted block right before it")]
    NotNext(Height),
    /// It comes later, and is dated no later.
    #[error(
        "the header of height {height} is of time {found}, the trusted one before it of {trusted}"
    )]
    Time {
        /// Its height.
        height: Height,
        /// Its time.
        found: TimestampMs,
        /// The trusted header's.
        trusted: TimestampMs,
    },
    /// It does not lie ahead of what is trusted.
    #[error("height {found} is not ahead of the trusted height {trusted}")]
    NotAhead {
        /// Its height.
        found: Height,
        /// The trusted height.
        trusted: Height,
    },
    /// Too few of those whom we trust signed. No lie: the sets may have moved too far apart.
    #[error(
        "of the {total} voting power trusted here only {signed} signed height {height}, more than 1/3 is needed; \
         name a newer block to trust, or replay the blocks"
    )]
    TooFar {
        /// The header's height.
        height: Height,
        /// Trusted power that signed.
        signed: Power,
        /// All trusted power.
        total: Power,
    },
}

impl LightError {
    /// Whether an honest peer that holds the same chain could never have sent this.
    pub const fn is_lie(&self) -> bool {
        !matches!(
            self,
            Self::TooFar { .. } | Self::OtherProtocol(_) | Self::NotAhead { .. }
        )
    }
}

/// Checks that the certificate makes the header final under `set`, which is the set that the header names.
///
/// This says that *somebody's* quorum signed; whether it is the chain's, only [`verify_skipping`] tells.
///
/// # Errors
/// [`LightError`] names the first fault.
pub fn verify_alone(
    chain: &ChainId,
    certified: &CertifiedHeader,
    set: &ValidatorSet,
) -> Result<(), LightError> {
    let header = &certified.header;
    if header.chain != *chain {
        return Err(LightError::OtherChain {
            found: header.chain,
            expected: *chain,
        });
    }
    if header.protocol_version != PROTOCOL_VERSION {
        return Err(LightError::OtherProtocol(header.protocol_version));
    }
    if header.height == Height::GENESIS {
        return Err(LightError::NoBlock);
    }
    let found = set.hash();
    if found != header.validators {
        return Err(LightError::OtherValidators {
            found,
            expected: header.validators,
        });
    }
    certified
        .certificate
        .verify_for(header.height, header.hash(), chain, set)?;
    Ok(())
}

/// Checks as the module's head says: quorum of the header's own `set`, and more than a third of `trusted`.
///
/// # Errors
/// [`LightError`] names the first fault.
pub fn verify_skipping(
    chain: &ChainId,
    trusted: &ValidatorSet,
    certified: &CertifiedHeader,
    set: &ValidatorSet,
) -> Result<(), LightError> {
    verify_alone(chain, certified, set)?;
    if trusted == set {
        return Ok(());
    }
    let signed = certified.certificate.verified_power(chain, trusted, true)?;
    if trusted.has_correct(signed) {
        Ok(())
    } else {
        Err(LightError::TooFar {
            height: certified.header.height,
            signed,
            total: trusted.total(),
        })
    }
}
