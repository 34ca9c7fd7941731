//! Envelopes: how transactions travel. The node that clients gave them to collects what arrives within a few
//! milliseconds and publishes it as one message, signed by that node, numbered, and coloured.
//!
//! The *colour* is the number of the last snapshot height its origin had committed when it sent: by it a picture of
//! the system tells what was sent before the cut from what was sent after (Lai and Yang, 1987). The *incarnation* is a
//! counter made durable at each start, so that a node that restarts never says two things under one number; two
//! contents under one number are proof of a lie.

use crate::{
    certificate::SignedContent,
    codec::{self, CodecError},
    hash::{ChainId, Domain, Hash, hash},
    keys::{InvalidSignature, PublicKey, SecretKey, Signature},
    transaction::SignedTransaction,
    units::Height,
    untrusted::Untrusted,
};
use serde::{Deserialize, Serialize};

/// Bytes of an encoded envelope.
pub const ENVELOPE_BYTES_MAX: usize = 2 << 20;
/// Transactions in an envelope.
pub const ENVELOPE_TRANSACTIONS_MAX: usize = 4096;

/// What names an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EnvelopeId {
    /// The node that made it.
    pub origin: PublicKey,
    /// How many times that node had started.
    pub incarnation: u64,
    /// Which of this incarnation, from 0, without gaps.
    pub sequence: u64,
}

/// What the origin says besides the transactions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Label {
    id: EnvelopeId,
    colour: Height,
    /// The hash of the encoded transactions.
    contents: Hash,
}

impl SignedContent for Label {
    const DOMAIN: Domain = Domain::Envelope;
}

/// Transactions under way, from one origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Its name.
    pub id: EnvelopeId,
    /// The last snapshot height its origin had committed.
    pub colour: Height,
    /// The transactions. Each verifies by itself.
    pub transactions: Vec<SignedTransaction>,
    /// The origin's signature over all of the above.
    pub signature: Signature,
}

impl Envelope {
    /// Makes one, signed by its origin.
    pub fn seal(
        key: &SecretKey,
        chain: &ChainId,
        (incarnation, sequence): (u64, u64),
        colour: Height,
        transactions: Vec<SignedTransaction>,
    ) -> Self {
        let id = EnvelopeId {
            origin: key.public_key(),
            incarnation,
            sequence,
        };
        let signature = label(id, colour, &transactions).sign(chain, key);
        Self {
            id,
            colour,
            transactions,
            signature,
        }
    }

    /// Decodes one from outside.
    ///
    /// # Errors
    /// [`CodecError`]; more transactions than [`ENVELOPE_TRANSACTIONS_MAX`] are malformed.
    pub fn decode(bytes: &[u8]) -> Result<Untrusted<Self>, CodecError> {
        let envelope: Self = codec::decode(bytes, ENVELOPE_BYTES_MAX)?;
        if envelope.transactions.len() > ENVELOPE_TRANSACTIONS_MAX {
            return Err(CodecError::Malformed(
                "too many transactions in an envelope".into(),
            ));
        }
        Ok(Untrusted::new(envelope))
    }
}

fn label(id: EnvelopeId, colour: Height, transactions: &[SignedTransaction]) -> Label {
    Label {
        id,
        colour,
        contents: hash(Domain::Envelope, &codec::encode(transactions)),
    }
}

impl Untrusted<Envelope> {
    /// Checks the origin's signature. The transactions inside are verified one by one or in a batch afterwards.
    ///
    /// # Errors
    /// [`InvalidSignature`].
    pub fn verify_origin(self, chain: &ChainId) -> Result<Envelope, InvalidSignature> {
        let Envelope {
            id,
            colour,
            transactions,
            signature,
        } = self.claim();
        label(*id, *colour, transactions).verify(chain, &id.origin, signature)?;
        Ok(self.into_verified())
    }
}

/// A node's signed word on the state root it has at a snapshot height. Nodes compare these to find one that lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    /// What it says.
    pub claim: AttestedRoot,
    /// Who says it.
    pub node: PublicKey,
    /// Its signature.
    pub signature: Signature,
}

/// A state root at a height.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttestedRoot {
    /// The height.
    pub height: Height,
    /// The root after the block of that height.
    pub root: crate::hash::StateRoot,
}

impl SignedContent for AttestedRoot {
    const DOMAIN: Domain = Domain::Attestation;
}

impl Attestation {
    /// Bytes of an encoded attestation.
    pub const BYTES_MAX: usize = 256;

    /// Makes one.
    pub fn new(key: &SecretKey, chain: &ChainId, claim: AttestedRoot) -> Self {
        Self {
            claim,
            node: key.public_key(),
            signature: claim.sign(chain, key),
        }
    }

    /// Decodes and verifies one from outside.
    ///
    /// # Errors
    /// A text that says what is wrong.
    pub fn decode(bytes: &[u8], chain: &ChainId) -> Result<Self, String> {
        let attestation: Self = codec::decode(bytes, Self::BYTES_MAX).map_err(|e| e.to_string())?;
        attestation
            .claim
            .verify(chain, &attestation.node, &attestation.signature)
            .map_err(|e| e.to_string())?;
        Ok(attestation)
    }
}
