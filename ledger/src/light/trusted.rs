//! A header that is believed, and how it makes others believed.
//!
//! # Rules
//! A [`LightBlock`] ahead of a [`Trusted`] header is believed
//! - if it comes *right after* it: when it names it as its parent, is voted on by those whom it announces, and a quorum of
//!   these signed;
//! - if it comes later: by [`verify_skipping`], when a quorum of its own validators signed, and more than a third of those
//!   who are trusted.
//!
//! In both cases it is dated later.

use super::{LightError, VerifiedState, verify_alone, verify_skipping};
use crate::{
    block::{CertifiedHeader, Header},
    certificate::Certificate,
    codec::{self, CodecError},
    genesis::{Genesis, GenesisError},
    hash::{BlockHash, ChainId, StateRoot, ValidatorSetHash},
    units::{Height, TimestampMs},
    validators::ValidatorSet,
};
use serde::{Deserialize, Serialize};

/// Bytes of an encoded light block: the largest certificate and set, and a header.
pub const LIGHT_BLOCK_BYTES_MAX: usize = 64 << 10;

/// What is claimed of a height: a header, what makes it final, and who voted on it. Nothing of it is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LightBlock {
    /// The header.
    pub header: Header,
    /// Its certificate.
    pub certificate: Certificate,
    /// The validators whose hash the header names.
    pub validators: ValidatorSet,
}

impl LightBlock {
    /// Of a header, and the set that is said to have voted on it.
    pub fn new(certified: CertifiedHeader, validators: ValidatorSet) -> Self {
        Self {
            header: certified.header,
            certificate: certified.certificate,
            validators,
        }
    }

    /// Decodes one.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode(bytes, LIGHT_BLOCK_BYTES_MAX)
    }

    fn certified(&self) -> CertifiedHeader {
        CertifiedHeader {
            header: self.header.clone(),
            certificate: self.certificate.clone(),
        }
    }
}

/// A block that somebody trusted has told: its height and its hash, written `HEIGHT:HASH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its height.
    pub height: Height,
    /// Its hash.
    pub hash: BlockHash,
}

/// A text that names no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected HEIGHT:HASH, such as 120: and the 64 hex digits of that block's hash")]
pub struct ParseCheckpointError;

impl std::str::FromStr for Checkpoint {
    type Err = ParseCheckpointError;

    fn from_str(text: &str) -> Result<Self, ParseCheckpointError> {
        let (height, hash) = text.split_once(':').ok_or(ParseCheckpointError)?;
        Ok(Self {
            height: height.parse().map_err(|_| ParseCheckpointError)?,
            hash: hash.parse().map_err(|_| ParseCheckpointError)?,
        })
    }
}

impl std::fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.height, self.hash)
    }
}

impl Serialize for Checkpoint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Checkpoint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A header that is believed, or the genesis, with the validators who are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    chain: ChainId,
    height: Height,
    /// All zeros of the genesis, as the first header names its parent.
    hash: BlockHash,
    time: TimestampMs,
    /// None of the genesis, which has a state but no header.
    root: Option<StateRoot>,
    validators: ValidatorSet,
    next: ValidatorSetHash,
}

impl Trusted {
    /// The genesis.
    ///
    /// # Errors
    /// [`GenesisError`] if it is not sound.
    pub fn genesis(genesis: &Genesis) -> Result<Self, GenesisError> {
        genesis.check()?;
        let validators = genesis.validator_set()?;
        Ok(Self {
            chain: genesis.chain_id(),
            height: Height::GENESIS,
            hash: BlockHash::default(),
            time: genesis.time,
            root: None,
            next: validators.hash(),
            validators,
        })
    }

    /// A block whose height and hash come from somebody who is trusted. Only they are: header and validators follow from the
    /// hash, and the certificate must hold all the same.
    ///
    /// # Errors
    /// [`LightError`] if it is not that block.
    pub fn block(checkpoint: Checkpoint, block: LightBlock) -> Result<Self, LightError> {
        let Checkpoint { height, hash } = checkpoint;
        let found = block.header.hash();
        if (found, block.header.height) != (hash, height) {
            return Err(LightError::OtherBlock {
                height: block.header.height,
                found,
                expected: hash,
            });
        }
        let chain = block.header.chain;
        verify_alone(&chain, &block.certified(), &block.validators)?;
        Ok(Self::believed(chain, hash, block))
    }

    fn believed(chain: ChainId, hash: BlockHash, block: LightBlock) -> Self {
        let header = block.header;
        Self {
            chain,
            height: header.height,
            hash,
            time: header.time,
            root: Some(header.state_root),
            validators: block.validators,
            next: header.next_validators,
        }
    }

    /// Believes a block ahead of this one, by the rules of the module's head.
    ///
    /// # Errors
    /// [`LightError`] names the first fault; [`LightError::TooFar`] says that a block between the two is needed.
    pub fn verify(&self, block: LightBlock) -> Result<Self, LightError> {
        let header = &block.header;
        if header.chain != self.chain {
            return Err(LightError::OtherChain {
                found: header.chain,
                expected: self.chain,
            });
        }
        if header.height <= self.height {
            return Err(LightError::NotAhead {
                found: header.height,
                trusted: self.height,
            });
        }
        if header.height == self.height.next() {
            if (header.parent, header.validators) != (self.hash, self.next) {
                return Err(LightError::NotNext(header.height));
            }
            verify_alone(&self.chain, &block.certified(), &block.validators)?;
        } else {
            let certified = block.certified();
            verify_skipping(&self.chain, &self.validators, &certified, &block.validators)?;
        }
        if header.time <= self.time {
            return Err(LightError::Time {
                height: header.height,
                found: header.time,
                trusted: self.time,
            });
        }
        let hash = header.hash();
        Ok(Self::believed(self.chain, hash, block))
    }

    /// The chain.
    pub const fn chain(&self) -> ChainId {
        self.chain
    }

    /// The height.
    pub const fn height(&self) -> Height {
        self.height
    }

    /// The block's hash; all zeros of the genesis.
    pub const fn hash(&self) -> BlockHash {
        self.hash
    }

    /// When it was, as its proposer said.
    pub const fn time(&self) -> TimestampMs {
        self.time
    }

    /// Who voted on it; of the genesis, who votes on the first block.
    pub const fn validators(&self) -> &ValidatorSet {
        &self.validators
    }

    /// The state after it. None of the genesis: [`VerifiedState::genesis`] makes that one.
    pub const fn state(&self) -> Option<VerifiedState> {
        match self.root {
            Some(root) => Some(VerifiedState::new(self.height, self.time, root)),
            None => None,
        }
    }
}
