//! Votes, proposals, and the certificate that makes a block final: precommits for it by more than 2/3 of the power.
//!
//! Trust: a certificate is believed when its signers are known, each counted once, every signature holds, and their
//! power is a quorum of the validator set *of that height*. Which signatures it holds differs from node to node, so
//! its hash does too; nothing that nodes must agree on covers it but the next block's header.

use crate::{
    codec,
    hash::{Address, BlockHash, CertificateHash, ChainId, Domain, hash},
    keys::{Batch, InvalidSignature, PublicKey, SecretKey, Signature},
    units::{Height, Power, Round},
    validators::{VALIDATORS_MAX, ValidatorSet},
};
use serde::{Deserialize, Serialize};

/// The two steps of a round in which validators vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoteKind {
    /// The first step.
    Prevote,
    /// The second; a quorum of these for one block makes it final.
    Precommit,
}

/// A validator's vote for a block, or for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Vote {
    /// Which step.
    pub kind: VoteKind,
    /// The height voted on.
    pub height: Height,
    /// The round voted in.
    pub round: Round,
    /// The block, or none (nil).
    pub block: Option<BlockHash>,
    /// Who votes.
    pub validator: Address,
}

/// A proposer's claim that a block is its proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlockProposal {
    /// The height proposed for.
    pub height: Height,
    /// The round proposed in.
    pub round: Round,
    /// The block.
    pub block: BlockHash,
    /// The round in which a quorum prevoted for it before, if one did.
    pub proof_of_lock: Option<Round>,
    /// Who proposes.
    pub proposer: Address,
}

/// What consensus signs, the same way for all: in its domain, for one chain.
pub trait SignedContent: Serialize {
    /// The domain of its signatures.
    const DOMAIN: Domain;

    /// The bytes that are signed.
    fn sign_bytes(&self, chain: &ChainId) -> Vec<u8> {
        let mut bytes = chain.0.to_vec();
        bytes.extend(codec::encode(self));
        bytes
    }

    /// Signs for a chain.
    fn sign(&self, chain: &ChainId, key: &SecretKey) -> Signature {
        key.sign(Self::DOMAIN, &self.sign_bytes(chain))
    }

    /// Checks a signature for a chain.
    ///
    /// # Errors
    /// [`InvalidSignature`].
    fn verify(
        &self,
        chain: &ChainId,
        key: &PublicKey,
        signature: &Signature,
    ) -> Result<(), InvalidSignature> {
        key.verify(Self::DOMAIN, &self.sign_bytes(chain), signature)
    }
}

impl SignedContent for Vote {
    const DOMAIN: Domain = Domain::Vote;
}

impl SignedContent for BlockProposal {
    const DOMAIN: Domain = Domain::Proposal;
}

/// One validator's precommit inside a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitSignature {
    /// Who signed.
    pub validator: Address,
    /// The signature over its precommit.
    pub signature: Signature,
}

/// A quorum's precommits for one block: the proof that it is final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The block's height.
    pub height: Height,
    /// The round it was decided in.
    pub round: Round,
    /// The block.
    pub block: BlockHash,
    /// The precommits, in the order of the validators' addresses.
    pub signatures: Vec<CommitSignature>,
}

/// Why a certificate proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It is for another height or block than the one asked about.
    #[error(
        "the certificate is for block {found} at height {found_height}, not {expected} at {height}"
    )]
    OtherBlock {
        /// Block it is for.
        found: BlockHash,
        /// Height it is for.
        found_height: Height,
        /// Block asked about.
        expected: BlockHash,
        /// Height asked about.
        height: Height,
    },
    /// A signer twice or out of order.
    #[error("the certificate lists validator {0:.8} twice or out of order")]
    Disordered(Address),
    /// A signer who is not in the set.
    #[error("{0:.8} is not a validator at that height")]
    UnknownValidator(Address),
    /// A signature that does not hold.
    #[error("the signature of validator {0:.8} does not verify")]
    InvalidSignature(Address),
    /// The signers have too little power.
    #[error("the signers hold {signed} of {total} voting power, more than 2/3 is needed")]
    NoQuorum {
        /// Their power.
        signed: Power,
        /// The power of all.
        total: Power,
    },
}

impl Certificate {
    /// The hash that the next header carries.
    pub fn hash(&self) -> CertificateHash {
        hash(Domain::Certificate, &codec::encode(self)).into()
    }

    /// The vote that a signature in it is over.
    pub const fn vote(&self, validator: Address) -> Vote {
        Vote {
            kind: VoteKind::Precommit,
            height: self.height,
            round: self.round,
            block: Some(self.block),
            validator,
        }
    }

    /// Checks that it makes `block` at `height` final, under the validator set of that height.
    ///
    /// # Errors
    /// [`CertificateError`] names the first fault.
    pub fn verify_for(
        &self,
        height: Height,
        block: BlockHash,
        chain: &ChainId,
        set: &ValidatorSet,
    ) -> Result<(), CertificateError> {
        if (self.height, self.block) != (height, block) {
            let (found, found_height, expected) = (self.block, self.height, block);
            return Err(CertificateError::OtherBlock {
                found,
                found_height,
                expected,
                height,
            });
        }
        let signed = self.verified_power(chain, set, false)?;
        if set.is_quorum(signed) {
            Ok(())
        } else {
            Err(CertificateError::NoQuorum {
                signed,
                total: set.total(),
            })
        }
    }

    /// The power in `set` of those who signed, every counted signature verified. `skip_unknown` passes over signers
    /// that are not in the set, which is right only when asking an *older* set how much of it agrees.
    ///
    /// # Errors
    /// [`CertificateError`] names the first fault.
    pub fn verified_power(
        &self,
        chain: &ChainId,
        set: &ValidatorSet,
        skip_unknown: bool,
    ) -> Result<Power, CertificateError> {
        let mut batch = Batch::with_capacity(self.signatures.len().min(VALIDATORS_MAX));
        let mut counted = Vec::new();
        let mut previous: Option<Address> = None;
        for CommitSignature {
            validator,
            signature,
        } in &self.signatures
        {
            if previous.is_some_and(|before| before >= *validator) {
                return Err(CertificateError::Disordered(*validator));
            }
            previous = Some(*validator);
            match set.get(validator) {
                Some(known) => {
                    let bytes = self.vote(*validator).sign_bytes(chain);
                    batch.add(&known.public_key, Domain::Vote, &bytes, signature);
                    counted.push(known);
                }
                None if skip_unknown => {}
                None => return Err(CertificateError::UnknownValidator(*validator)),
            }
        }
        let mut power = Power(0);
        for (validator, holds) in counted.into_iter().zip(batch.verify()) {
            if !holds {
                return Err(CertificateError::InvalidSignature(validator.address));
            }
            power.0 += validator.power.0;
        }
        Ok(power)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validators::Validator;

    const CHAIN: ChainId = ChainId([5; 32]);
    const BLOCK: BlockHash = BlockHash([9; 32]);

    fn keys() -> Vec<SecretKey> {
        let mut keys: Vec<_> = (1..=4).map(|n| SecretKey::from_seed([n; 32])).collect();
        keys.sort_by_key(SecretKey::address);
        keys
    }

    fn set() -> ValidatorSet {
        let one = |k: &SecretKey| Validator::new(k.public_key(), Power(1));
        ValidatorSet::new(keys().iter().map(one).collect()).unwrap()
    }

    fn signed_by(keys: &[SecretKey]) -> Certificate {
        let mut certificate = Certificate {
            height: Height(3),
            round: Round(1),
            block: BLOCK,
            signatures: vec![],
        };
        let sign = |k: &SecretKey| CommitSignature {
            validator: k.address(),
            signature: certificate.vote(k.address()).sign(&CHAIN, k),
        };
        certificate.signatures = keys.iter().map(sign).collect();
        certificate
    }

    fn check(certificate: &Certificate) -> Result<(), CertificateError> {
        certificate.verify_for(Height(3), BLOCK, &CHAIN, &set())
    }

    #[test]
    fn three_of_four_suffice_and_two_do_not() {
        assert_eq!(check(&signed_by(&keys()[..3])), Ok(()));
        let error = check(&signed_by(&keys()[..2])).unwrap_err();
        assert_eq!(
            error,
            CertificateError::NoQuorum {
                signed: Power(2),
                total: Power(4)
            }
        );
    }

    #[test]
    fn nobody_counts_twice_and_no_stranger_counts() {
        let keys = keys();
        let twice = [keys[0].clone(), keys[1].clone(), keys[1].clone()];
        let error = check(&signed_by(&twice)).unwrap_err();
        assert_eq!(error, CertificateError::Disordered(keys[1].address()));
        let mut with_stranger = keys[..3].to_vec();
        with_stranger.push(SecretKey::from_seed([99; 32]));
        with_stranger.sort_by_key(SecretKey::address);
        assert!(matches!(
            check(&signed_by(&with_stranger)),
            Err(CertificateError::UnknownValidator(_))
        ));
    }

    #[test]
    fn it_holds_for_its_block_height_round_and_chain_only() {
        let good = signed_by(&keys());
        assert!(good.verify_for(Height(4), BLOCK, &CHAIN, &set()).is_err());
        assert!(
            good.verify_for(Height(3), BlockHash([1; 32]), &CHAIN, &set())
                .is_err()
        );
        assert!(
            good.verify_for(Height(3), BLOCK, &ChainId([6; 32]), &set())
                .is_err()
        );
        let other_round = Certificate {
            round: Round(2),
            ..good
        };
        assert!(matches!(
            check(&other_round),
            Err(CertificateError::InvalidSignature(_))
        ));
    }
}
