//! The consensus library's idea of a chain, filled in with ours.
//!
//! The library is generic over heights, addresses, values, votes and proposals. Its traits cannot be put on the
//! ledger's types directly, so thin wrappers stand here, with the conversions both ways. A *value* is a block's hash:
//! the block itself travels and is kept beside it.

use arc_malachitebft_core_types as core;
use core::{NilOrVal, SignedExtension};
use ledger::{
    certificate::{
        BlockProposal, Certificate, CommitSignature, SignedContent, Vote as LedgerVote, VoteKind,
    },
    hash::{Address as LedgerAddress, BlockHash, ChainId},
    keys::{PublicKey, Signature},
    units::{Height as LedgerHeight, Round as LedgerRound},
    validators::{Validator as LedgerValidator, ValidatorSet as LedgerSet},
};
use std::fmt;

/// A height, as the library counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Height(pub LedgerHeight);

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl core::Height for Height {
    const ZERO: Self = Self(LedgerHeight(0));
    const INITIAL: Self = Self(LedgerHeight(1));

    fn increment_by(&self, n: u64) -> Self {
        Self(self.0.after(n))
    }

    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.0.checked_sub(n).map(|h| Self(LedgerHeight(h)))
    }

    fn as_u64(&self) -> u64 {
        self.0.0
    }
}

/// A validator's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub LedgerAddress);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.8}", self.0)
    }
}

impl core::Address for Address {}

/// What is decided: a block, by its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(pub BlockHash);

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.8}", self.0)
    }
}

impl core::Value for Value {
    type Id = Self;

    fn id(&self) -> Self {
        *self
    }
}

/// Blocks travel in our own messages; the library's parts are not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoPart;

impl core::ProposalPart<Chain> for NoPart {
    fn is_first(&self) -> bool {
        true
    }

    fn is_last(&self) -> bool {
        true
    }
}

/// The signature scheme: the ledger's. Signing and verifying are effects that the host answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ed25519;

/// Bytes of the wrong length where a key or a signature was wanted.
#[derive(Clone, Copy, Debug)]
pub struct WrongLength;

impl fmt::Display for WrongLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wrong length")
    }
}

impl core::SigningScheme for Ed25519 {
    type DecodingError = WrongLength;
    type Signature = Signature;
    type PublicKey = PublicKey;
    type PrivateKey = ();

    fn decode_signature(bytes: &[u8]) -> Result<Signature, WrongLength> {
        bytes.try_into().map(Signature).map_err(|_| WrongLength)
    }

    fn encode_signature(signature: &Signature) -> Vec<u8> {
        signature.0.to_vec()
    }

    fn decode_public_key(bytes: &[u8]) -> Result<PublicKey, WrongLength> {
        bytes.try_into().map(PublicKey).map_err(|_| WrongLength)
    }

    fn encode_public_key(key: &PublicKey) -> Vec<u8> {
        key.0.to_vec()
    }
}

/// A validator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validator {
    address: Address,
    validator: LedgerValidator,
}

impl From<&LedgerValidator> for Validator {
    fn from(validator: &LedgerValidator) -> Self {
        Self {
            address: Address(validator.address),
            validator: *validator,
        }
    }
}

impl core::Validator<Chain> for Validator {
    fn address(&self) -> &Address {
        &self.address
    }

    fn public_key(&self) -> &PublicKey {
        &self.validator.public_key
    }

    fn voting_power(&self) -> u64 {
        self.validator.power.0
    }
}

/// A validator set. The library clones it several times a height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatorSet {
    set: LedgerSet,
    validators: std::sync::Arc<[Validator]>,
}

impl ValidatorSet {
    /// The ledger's set.
    pub const fn ledger(&self) -> &LedgerSet {
        &self.set
    }
}

impl From<&LedgerSet> for ValidatorSet {
    fn from(set: &LedgerSet) -> Self {
        Self {
            set: set.clone(),
            validators: set.iter().map(Validator::from).collect(),
        }
    }
}

impl core::ValidatorSet<Chain> for ValidatorSet {
    fn count(&self) -> usize {
        self.validators.len()
    }

    fn total_voting_power(&self) -> u64 {
        self.set.total().0
    }

    fn get_by_address(&self, address: &Address) -> Option<&Validator> {
        let index = self
            .validators
            .binary_search_by_key(address, |v| v.address)
            .ok()?;
        self.validators.get(index)
    }

    fn get_by_index(&self, index: usize) -> Option<&Validator> {
        self.validators.get(index)
    }
}

/// A vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vote {
    /// Which step.
    pub kind: core::VoteType,
    /// The height.
    pub height: Height,
    /// The round; the library allows none, the ledger does not.
    pub round: core::Round,
    /// For which block, or none.
    pub value: NilOrVal<Value>,
    /// Whose.
    pub validator: Address,
}

impl Vote {
    /// The ledger's form, unless the round is none.
    pub fn to_ledger(self) -> Option<LedgerVote> {
        Some(LedgerVote {
            kind: match self.kind {
                core::VoteType::Prevote => VoteKind::Prevote,
                core::VoteType::Precommit => VoteKind::Precommit,
            },
            height: self.height.0,
            round: to_ledger_round(self.round)?,
            block: match self.value {
                NilOrVal::Nil => None,
                NilOrVal::Val(Value(block)) => Some(block),
            },
            validator: self.validator.0,
        })
    }
}

impl From<LedgerVote> for Vote {
    fn from(vote: LedgerVote) -> Self {
        Self {
            kind: match vote.kind {
                VoteKind::Prevote => core::VoteType::Prevote,
                VoteKind::Precommit => core::VoteType::Precommit,
            },
            height: Height(vote.height),
            round: core::Round::new(vote.round.0),
            value: vote
                .block
                .map_or(NilOrVal::Nil, |block| NilOrVal::Val(Value(block))),
            validator: Address(vote.validator),
        }
    }
}

impl core::Vote<Chain> for Vote {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> core::Round {
        self.round
    }

    fn value(&self) -> &NilOrVal<Value> {
        &self.value
    }

    fn take_value(self) -> NilOrVal<Value> {
        self.value
    }

    fn vote_type(&self) -> core::VoteType {
        self.kind
    }

    fn validator_address(&self) -> &Address {
        &self.validator
    }

    fn extension(&self) -> Option<&SignedExtension<Chain>> {
        None
    }

    fn take_extension(&mut self) -> Option<SignedExtension<Chain>> {
        None
    }

    fn extend(self, _extension: SignedExtension<Chain>) -> Self {
        self
    }
}

/// A proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Proposal {
    /// The height.
    pub height: Height,
    /// The round.
    pub round: core::Round,
    /// The block.
    pub value: Value,
    /// The round of a polka for it, or none.
    pub pol_round: core::Round,
    /// Whose.
    pub proposer: Address,
}

impl Proposal {
    /// The ledger's form, unless the round is none.
    pub fn to_ledger(self) -> Option<BlockProposal> {
        Some(BlockProposal {
            height: self.height.0,
            round: to_ledger_round(self.round)?,
            block: self.value.0,
            proof_of_lock: to_ledger_round(self.pol_round),
            proposer: self.proposer.0,
        })
    }
}

impl From<BlockProposal> for Proposal {
    fn from(proposal: BlockProposal) -> Self {
        Self {
            height: Height(proposal.height),
            round: core::Round::new(proposal.round.0),
            value: Value(proposal.block),
            pol_round: proposal
                .proof_of_lock
                .map_or(core::Round::Nil, |r| core::Round::new(r.0)),
            proposer: Address(proposal.proposer),
        }
    }
}

impl core::Proposal<Chain> for Proposal {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> core::Round {
        self.round
    }

    fn value(&self) -> &Value {
        &self.value
    }

    fn take_value(self) -> Value {
        self.value
    }

    fn pol_round(&self) -> core::Round {
        self.pol_round
    }

    fn validator_address(&self) -> &Address {
        &self.proposer
    }
}

/// The library's round as the ledger's, unless it is none.
pub fn to_ledger_round(round: core::Round) -> Option<LedgerRound> {
    round.as_u32().map(LedgerRound)
}

/// The bytes a validator signs, for whatever the library asks to have signed or verified. None if the ledger has no
/// form for it: such a thing verifies as false and is never signed.
pub fn sign_bytes(chain: &ChainId, content: Content) -> Option<(ledger::hash::Domain, Vec<u8>)> {
    match content {
        Content::Vote(vote) => Some((LedgerVote::DOMAIN, vote.to_ledger()?.sign_bytes(chain))),
        Content::Proposal(p) => Some((BlockProposal::DOMAIN, p.to_ledger()?.sign_bytes(chain))),
    }
}

/// What can be signed.
#[derive(Clone, Copy, Debug)]
pub enum Content {
    /// A vote.
    Vote(Vote),
    /// A proposal.
    Proposal(Proposal),
}

/// The library's certificate as the ledger's: the signatures in the order of addresses, each signer once.
pub fn to_ledger_certificate(certificate: &core::CommitCertificate<Chain>) -> Option<Certificate> {
    let mut signatures: Vec<CommitSignature> = certificate
        .commit_signatures
        .iter()
        .map(|s| CommitSignature {
            validator: s.address.0,
            signature: s.signature,
        })
        .collect();
    signatures.sort_by_key(|s| s.validator);
    signatures.dedup_by_key(|s| s.validator);
    Some(Certificate {
        height: certificate.height.0,
        round: to_ledger_round(certificate.round)?,
        block: certificate.value_id.0,
        signatures,
    })
}

/// Our chain, to the library.
#[derive(Clone, Copy, Debug)]
pub struct Chain;

impl core::Context for Chain {
    type Address = Address;
    type Height = Height;
    type ProposalPart = NoPart;
    type Proposal = Proposal;
    type Validator = Validator;
    type ValidatorSet = ValidatorSet;
    type Timeouts = core::LinearTimeouts;
    type Value = Value;
    type Vote = Vote;
    type Extension = ();
    type SigningScheme = Ed25519;

    /// Total and pure: the library asks it about rounds that nobody has verified, none included.
    #[allow(
        clippy::indexing_slicing,
        reason = "a set is never empty, and the index is a remainder"
    )]
    fn select_proposer<'a>(
        &self,
        set: &'a ValidatorSet,
        height: Height,
        round: core::Round,
    ) -> &'a Validator {
        let round = to_ledger_round(round).unwrap_or_default();
        let proposer = set.set.proposer(height.0, round).address;
        core::ValidatorSet::get_by_address(set, &Address(proposer)).unwrap_or(&set.validators[0])
    }

    fn new_proposal(
        &self,
        height: Height,
        round: core::Round,
        value: Value,
        pol_round: core::Round,
        proposer: Address,
    ) -> Proposal {
        Proposal {
            height,
            round,
            value,
            pol_round,
            proposer,
        }
    }

    fn new_prevote(
        &self,
        height: Height,
        round: core::Round,
        value: NilOrVal<Value>,
        validator: Address,
    ) -> Vote {
        Vote {
            kind: core::VoteType::Prevote,
            height,
            round,
            value,
            validator,
        }
    }

    fn new_precommit(
        &self,
        height: Height,
        round: core::Round,
        value: NilOrVal<Value>,
        validator: Address,
    ) -> Vote {
        Vote {
            kind: core::VoteType::Precommit,
            height,
            round,
            value,
            validator,
        }
    }
}
