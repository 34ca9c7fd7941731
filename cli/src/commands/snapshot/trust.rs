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
    /// Believe the snapshot if it is of this block, whoever its validators are
    #[arg(long, value_name = "HEIGHT:HASH")]
    pub trust: Option<Checkpoint>,
    /// Believe it from this genesis [default: the one in the testnet's or node's folder]
    #[arg(long, value_name = "FILE", conflicts_with = "trust")]
    pub genesis: Option<PathBuf>,
}

/// What is trusted.
#[derive(Debug)]
pub enum Trust {
    /// The validators of a genesis, and those who follow from them.
    Genesis(Box<Genesis>),
    /// One block.
    Block(Checkpoint),
}

impl TrustArgs {
    /// What was named, or the genesis that is at hand.
    ///
    /// # Errors
    /// If there is nothing to trust.
    pub fn resolve(&self, context: &Context) -> Result<Trust> {
        if let Some(checkpoint) = self.trust {
            return Ok(Trust::Block(checkpoint));
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
            Self::Block(checkpoint) => claimed.verify_block(*checkpoint),
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
