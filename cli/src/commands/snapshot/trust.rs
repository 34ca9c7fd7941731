//! What a snapshot from elsewhere is believed by: the genesis's validators, or the hash of its block.

use crate::{
    context::Context,
    failure::{Exit, Failure, Result},
    testnet::Testnet,
};
use clap::Args;
use ledger::{genesis::Genesis, light::Checkpoint};
use snapshot::{
    archive::ArchiveError,
    manifest::{Manifest, ManifestError, UntrustedManifest},
};
use std::path::PathBuf;

/// What to trust.
#[derive(Clone, Debug, Default, Args)]
pub struct TrustArgs {
    /// Believe the snapshot if it is of this block, whoever its validators are; of two snapshots, once for each
    #[arg(long, value_name = "HEIGHT:HASH")]
    pub trust: Vec<Checkpoint>,
    /// Believe it from this genesis [default: the one in the testnet's or node's folder]
    #[arg(long, value_name = "FILE", conflicts_with = "trust")]
    pub genesis: Option<PathBuf>,
}

/// What is trusted.
#[derive(Debug)]
pub enum Trust {
    /// The validators of a genesis, and those who follow from them.
    Genesis(Box<Genesis>),
    /// A block, and more: a snapshot is held against the one of its height.
    Blocks(Checkpoint, Vec<Checkpoint>),
}

impl TrustArgs {
    /// What was named, or the genesis that is at hand.
    ///
    /// # Errors
    /// If there is nothing to trust.
    pub fn resolve(&self, context: &Context) -> Result<Trust> {
        if let Some((first, more)) = self.trust.split_first() {
            return Ok(Trust::Blocks(*first, more.to_vec()));
        }
        let genesis = match &self.genesis {
            Some(path) => {
                let bytes = std::fs::read(path)
                    .map_err(|error| Failure::io("cannot read", path, &error))?;
                Genesis::from_json(&bytes).map_err(|error| {
                    let message = format!("{} is no genesis: {error}", path.display());
                    Failure::failed("genesis_malformed", message)
                })?
            }
            None => Testnet::at(&context.dir).genesis().map_err(|_| {
                let message = format!(
                    "nothing is known here to check the snapshot against: there is no genesis.json in {}",
                    context.dir.display()
                );
                Failure::usage(message)
                    .help("--dir names the folder with the chain's genesis.json, --genesis the file, --trust a block")
            })?,
        };
        Ok(Trust::Genesis(Box::new(genesis)))
    }
}

impl Trust {
    /// Believes a manifest, or says why not.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn verify(
        &self,
        claimed: UntrustedManifest,
    ) -> std::result::Result<Manifest, ManifestError> {
        match self {
            Self::Genesis(genesis) => {
                let trusted = genesis
                    .validator_set()
                    .map_err(|error| ManifestError::Trusted(error.to_string()))?;
                claimed.verify(&genesis.chain_id(), &trusted)
            }
            Self::Blocks(first, more) => {
                let height = claimed.height_claimed();
                let of_it = more.iter().find(|block| block.height == height);
                claimed.verify_block(*of_it.unwrap_or(first))
            }
        }
    }
}

/// A manifest that is not believed.
pub fn unbelieved(what: &str, error: &ManifestError) -> Failure {
    let message = format!("the snapshot {what} does not verify: {error}");
    let failure = Failure::new(Exit::Disagreement, "verification_failed", message);
    match error {
        ManifestError::Light(error) if !error.is_lie() => failure.help(
            "its validators have changed too much since the genesis: --trust HEIGHT:HASH names its block instead",
        ),
        _ => failure.help("get it from elsewhere; nothing of it was used"),
    }
}

/// An archive that is not what it should be, or cannot be read.
pub fn unreadable(what: &str, error: &ArchiveError) -> Failure {
    match error {
        ArchiveError::Io(error) => Failure::io("cannot read", what.as_ref(), error),
        ArchiveError::Manifest(error) => unbelieved(what, error),
        _ => Failure::new(
            Exit::Disagreement,
            "verification_failed",
            format!("{what} does not verify: {error}"),
        )
        .help("get it again from where it came; nothing of it was used"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::{
        block::{CertifiedHeader, Header},
        certificate::{Certificate, CommitSignature, SignedContent},
        genesis::{GenesisAccount, GenesisValidator, PROTOCOL_VERSION, Parameters},
        hash::BlockHash,
        keys::SecretKey,
        state::State,
        units::{Amount, Height, Power, Round, TimestampMs},
    };

    /// The snapshot of a height of a chain with one validator.
    fn snapshot(height: u64) -> Manifest {
        let key = SecretKey::from_seed([1; 32]);
        let genesis = Genesis {
            protocol_version: PROTOCOL_VERSION,
            chain_name: "made-up".into(),
            time: TimestampMs(1),
            parameters: Parameters::default(),
            validators: vec![GenesisValidator {
                name: "node0".into(),
                public_key: key.public_key(),
                power: Power(1),
            }],
            accounts: vec![GenesisAccount {
                name: "alice".into(),
                address: key.address(),
                balance: Amount(1),
            }],
            generated: None,
        };
        let (state, set) = (
            State::genesis(&genesis).unwrap(),
            genesis.validator_set().unwrap(),
        );
        let header = Header {
            protocol_version: PROTOCOL_VERSION,
            chain: genesis.chain_id(),
            height: Height(height),
            round: Round(0),
            parent: BlockHash::default(),
            parent_certificate: Default::default(),
            time: TimestampMs(1 + height),
            proposer: key.address(),
            transaction_ids: Default::default(),
            transactions_root: Default::default(),
            state_root: state.root(),
            validators: set.hash(),
            next_validators: set.hash(),
        };
        let mut certificate = Certificate {
            height: header.height,
            round: header.round,
            block: header.hash(),
            signatures: vec![],
        };
        certificate.signatures = vec![CommitSignature {
            validator: key.address(),
            signature: certificate.vote(key.address()).sign(&header.chain, &key),
        }];
        let certified = CertifiedHeader {
            header,
            certificate,
        };
        let chunk_bytes_max = state.parameters().chunk_bytes_max;
        let made = Manifest::of_tree(state.tree(), certified, set, chunk_bytes_max);
        made.unwrap().0
    }

    fn is_believed(snapshot: &Manifest, first: Checkpoint, more: &[Checkpoint]) -> bool {
        let claimed = UntrustedManifest::decode(&snapshot.encode()).unwrap();
        Trust::Blocks(first, more.to_vec()).verify(claimed).is_ok()
    }

    /// Two snapshots are compared, and of each the block is known.
    #[test]
    fn each_snapshot_is_held_against_the_block_of_its_height() {
        let (older, newer) = (snapshot(5), snapshot(9));
        let at = |snapshot: &Manifest| Checkpoint {
            height: snapshot.height(),
            hash: snapshot.block(),
        };
        for (first, second) in [(&older, &newer), (&newer, &older)] {
            assert!(is_believed(&older, at(first), &[at(second)]));
            assert!(is_believed(&newer, at(first), &[at(second)]));
        }
        assert!(!is_believed(&newer, at(&older), &[]));
        let crossed = Checkpoint {
            hash: at(&older).hash,
            ..at(&newer)
        };
        assert!(!is_believed(&newer, at(&older), &[crossed]));
    }
}
