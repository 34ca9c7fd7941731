//! Checking a node's answer without believing the node.
//!
//! An answer comes with a Merkle proof up to a state root, the header that the root stands in, and the certificate over
//! the header. Trust starts from the testnet's own genesis file: its validators must be those who signed, or, where the
//! set has changed since, more than a third of their power must have signed together with a quorum of the new set, which
//! the header names by its hash.
//!
//! What cannot be tied to the genesis is reported as not verified. What is plainly false is a failure.

use crate::{
    api::{Evidence, Validators},
    client::{Client, query},
    failure::{Exit, Failure, Result},
    testnet::Testnet,
};
use ledger::{
    block::{CertifiedHeader, Header},
    certificate::Certificate,
    codec,
    genesis::Genesis,
    state::{State, entries::Key, tree::Proof},
    validators::{Validator, ValidatorSet},
};
use snapshot::light;
use std::path::Path;

/// Bytes of a proof, at the most: the way down a tree, and an entry.
const PROOF_BYTES_MAX: usize = 1 << 20;

/// Checks answers of one node against the genesis of one testnet.
#[derive(Debug)]
pub struct Checker<'a> {
    genesis: Option<Genesis>,
    client: &'a Client,
}

impl<'a> Checker<'a> {
    /// With the genesis in `dir`, if there is one.
    pub fn new(dir: &Path, client: &'a Client) -> Self {
        let genesis = Testnet::at(dir).genesis().ok();
        Self { genesis, client }
    }

    /// Whether there is a genesis to check anything against.
    pub const fn knows_genesis(&self) -> bool {
        self.genesis.is_some()
    }

    /// Whether the entry of `key` is proven to be `value`.
    ///
    /// # Errors
    /// Exit code 4 if the proof or the certificate is false.
    pub fn holds(&self, evidence: &Evidence, key: &Key, value: &[u8]) -> Result<bool> {
        let Some(genesis) = &self.genesis else {
            return Ok(false);
        };
        let Some(text) = &evidence.proof else {
            return Ok(false);
        };
        let bytes = hex::decode(text).map_err(|e| self.falsehood(&e.to_string()))?;
        let proof: Proof =
            codec::decode(&bytes, PROOF_BYTES_MAX).map_err(|e| self.falsehood(&e.to_string()))?;
        let entry = proof
            .verify(evidence.state_root, &key.place())
            .map_err(|e| self.falsehood(&e.to_string()))?;
        if entry.is_none_or(|entry| entry.value != value) {
            return Err(self.falsehood("the proof shows another content than the answer"));
        }
        match (&evidence.header, &evidence.certificate) {
            (Some(header), Some(certificate)) => {
                self.certified(genesis, evidence, header, certificate)
            }
            // The state of the genesis has no block: it follows from the file.
            _ if evidence.height.0 == 0 => {
                let state = State::genesis(genesis).map_err(|e| self.falsehood(&e.to_string()))?;
                Ok(state.root() == evidence.state_root)
            }
            _ => Ok(false),
        }
    }

    fn certified(
        &self,
        genesis: &Genesis,
        evidence: &Evidence,
        header: &Header,
        certificate: &Certificate,
    ) -> Result<bool> {
        if (header.state_root, header.height) != (evidence.state_root, evidence.height) {
            return Err(self.falsehood("the header is of another state than the answer"));
        }
        let first = genesis
            .validator_set()
            .map_err(|e| self.falsehood(&e.to_string()))?;
        let set = if header.validators == first.hash() {
            first.clone()
        } else if let Some(set) = self.set_of(header) {
            set
        } else {
            return Ok(false);
        };
        let certified = CertifiedHeader {
            header: header.clone(),
            certificate: certificate.clone(),
        };
        match light::verify_skipping(&genesis.chain_id(), &first, &certified, &set) {
            Ok(()) => Ok(true),
            // The validators have changed too much since the genesis, or the chain speaks a newer protocol.
            Err(error) if !error.is_lie() => Ok(false),
            Err(error) => Err(self.falsehood(&error.to_string())),
        }
    }

    /// The validators of the header's own height, if the node names the very set that the header has the hash of.
    fn set_of(&self, header: &Header) -> Option<ValidatorSet> {
        let before = header.height.0.saturating_sub(1);
        for height in [header.height.0, before] {
            let answer = self
                .client
                .get::<Validators>(&format!("/v1/validators{}", query(Some(height), &[])));
            let Ok(answer) = answer else { continue };
            let validators = answer.validators.iter();
            let set = ValidatorSet::new(
                validators
                    .map(|v| Validator::new(v.public_key, v.power))
                    .collect(),
            );
            if let Some(set) = set.ok().filter(|set| set.hash() == header.validators) {
                return Some(set);
            }
        }
        None
    }

    fn falsehood(&self, why: &str) -> Failure {
        let message = format!(
            "the answer of {} does not verify: {why}",
            self.client.name()
        );
        Failure::new(Exit::Disagreement, "verification_failed", message)
            .help("ask another node; `tintype verify roots` shows whether they agree")
    }
}
