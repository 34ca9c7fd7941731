//! Where a snapshot is: on a node, asked for by its height, or in an archive.

use super::trust::{Trust, unbelieved, unreadable};
use crate::{
    api,
    client::Client,
    context::Context,
    failure::{Exit, Failure, Result},
};
use ledger::units::Height;
use snapshot::{
    archive::{ArchiveFile, UnverifiedArchive},
    chunk::VerifiedChunk,
    compare::Chunks,
    manifest::{ChunkRef, Manifest, UntrustedManifest},
};
use std::{fs::File, path::Path, time::Duration};

/// How long a node may take for one chunk.
const CHUNK_LIMIT: Duration = Duration::from_secs(60);

/// A snapshot on a node, whose manifest was verified.
#[derive(Debug)]
pub struct OnNode {
    client: Client,
    /// The manifest.
    pub manifest: Manifest,
}

impl OnNode {
    /// The snapshot of a height.
    ///
    /// # Errors
    /// If the node does not answer, has no such snapshot, or its manifest is not believed.
    pub fn open(client: Client, height: Height, trust: &Trust) -> Result<Self> {
        let answer: api::SnapshotDetail = client.get(&format!("/v1/snapshots/{height}"))?;
        let what = format!("at height {height} of {}", client.name());
        let unreadable = |why: String| {
            let message = format!("the snapshot {what} is unreadable: {why}");
            Failure::new(Exit::Disagreement, "verification_failed", message)
        };
        let bytes = hex::decode(&answer.manifest_hex).map_err(|e| unreadable(e.to_string()))?;
        let claimed = UntrustedManifest::decode(&bytes).map_err(|e| unbelieved(&what, &e))?;
        if claimed.height_claimed() != height {
            return Err(unreadable(format!(
                "it is of height {}",
                claimed.height_claimed()
            )));
        }
        let manifest = trust.verify(claimed).map_err(|e| unbelieved(&what, &e))?;
        Ok(Self { client, manifest })
    }

    /// A chunk with its bytes, whole.
    ///
    /// # Errors
    /// If the node does not answer, or with something else.
    pub fn fetch(&self, chunk: &ChunkRef) -> Result<(VerifiedChunk, Vec<u8>)> {
        let height = self.manifest.height();
        let path = format!("/v1/snapshots/{height}/chunks/{}", chunk.id());
        let (status, bytes) = self.client.fetch(&path, CHUNK_LIMIT)?;
        if status != 200 {
            return Err(self.client.refusal(&path, status, &bytes));
        }
        let verified = self.manifest.verify_chunk(chunk, &bytes).map_err(|error| {
            let message = format!(
                "chunk {} of {} does not verify: {error}",
                chunk.id(),
                self.client.name()
            );
            Failure::new(Exit::Disagreement, "verification_failed", message)
                .help("ask another node by --node")
        })?;
        Ok((verified, bytes))
    }
}

/// A snapshot, wherever it is.
#[derive(Debug)]
pub enum Source {
    /// On a node.
    Node(OnNode),
    /// In an archive.
    File(String, ArchiveFile),
}

impl Source {
    /// What a person named: a height, or a file.
    ///
    /// # Errors
    /// If it is not there, or not believed.
    pub fn open(context: &Context, text: &str, trust: &Trust) -> Result<Self> {
        if let Ok(height) = text.parse::<u64>() {
            let on_node = OnNode::open(context.client()?, Height(height), trust)?;
            return Ok(Self::Node(on_node));
        }
        let open = || {
            let archive = UnverifiedArchive::open(open_file(text)?)
                .map_err(|e| unreadable(text, &e))?
                .verify_by(|claimed| trust.verify(claimed))
                .map_err(|e| unreadable(text, &e))?;
            ArchiveFile::index(archive).map_err(|e| unreadable(text, &e))
        };
        Ok(Self::File(text.to_owned(), open()?))
    }

    /// Its manifest.
    pub const fn manifest(&self) -> &Manifest {
        match self {
            Self::Node(on_node) => &on_node.manifest,
            Self::File(_, file) => file.manifest(),
        }
    }
}

impl Chunks for Source {
    type Error = Failure;

    fn load(&self, chunk: &ChunkRef) -> Result<VerifiedChunk> {
        match self {
            Self::Node(on_node) => Ok(on_node.fetch(chunk)?.0),
            Self::File(name, file) => file.load_chunk(chunk).map_err(|e| unreadable(name, &e)),
        }
    }
}

/// Opens an archive's file.
///
/// # Errors
/// If it cannot be opened.
pub fn open_file(name: &str) -> Result<File> {
    File::open(name).map_err(|error| Failure::io("cannot open", Path::new(name), &error))
}
