//! Where a snapshot is: on a node, asked for by its height, or carried, in an archive or an object store.

use super::{
    location::Location,
    objects::InBucket,
    trust::{Trust, unbelieved, unreadable},
};
use crate::{
    api,
    client::Client,
    context::Context,
    failure::{Exit, Failure, Result},
};
use ledger::units::Height;
use snapshot::{
    archive::{Archive, ArchiveFile, UnverifiedArchive, VerifiedBytes},
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

/// A snapshot that is on no node, whose manifest was verified: to be read from its first chunk to its last.
#[derive(Debug)]
pub enum Carried {
    /// In an archive, by its name.
    File(String, Archive<File>),
    /// In an object store.
    Bucket(InBucket),
}

impl Carried {
    /// What a person named: a file, or a URL.
    ///
    /// # Errors
    /// If it is not there, or not believed.
    pub fn open(text: &str, trust: &Trust) -> Result<Self> {
        if let Some(location) = Location::parse(text)? {
            return Ok(Self::Bucket(InBucket::open(&location, trust)?));
        }
        let path = Path::new(text);
        let file = File::open(path).map_err(|error| Failure::io("cannot open", path, &error))?;
        let archive = UnverifiedArchive::open(file)
            .and_then(|archive| archive.verify_by(|claimed| trust.verify(claimed)))
            .map_err(|error| unreadable(text, &error))?;
        Ok(Self::File(text.to_owned(), archive))
    }

    /// Its manifest.
    pub const fn manifest(&self) -> &Manifest {
        match self {
            Self::File(_, archive) => archive.manifest(),
            Self::Bucket(objects) => &objects.manifest,
        }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        match self {
            Self::File(name, _) => name,
            Self::Bucket(objects) => &objects.name,
        }
    }

    /// Shows each chunk, verified, in the manifest's order. Gives the bytes that the snapshot takes where it is.
    ///
    /// # Errors
    /// Exit code 4 names the first fault.
    pub fn each(&mut self, mut see: impl FnMut(VerifiedBytes) -> Result) -> Result<u64> {
        match self {
            Self::File(name, archive) => {
                for chunk in archive.by_ref() {
                    see(chunk.map_err(|error| unreadable(name, &error))?)?;
                }
                Ok(archive.offset())
            }
            Self::Bucket(objects) => objects.each(see),
        }
    }
}

/// A snapshot, wherever it is, any chunk of which can be had by itself.
#[derive(Debug)]
pub enum Source {
    /// On a node.
    Node(OnNode),
    /// In an archive.
    File(String, ArchiveFile),
    /// In an object store.
    Bucket(InBucket),
}

impl Source {
    /// What a person named: a height, a file, or a URL.
    ///
    /// # Errors
    /// If it is not there, or not believed.
    pub fn open(context: &Context, text: &str, trust: &Trust) -> Result<Self> {
        if let Ok(height) = text.parse::<u64>() {
            let on_node = OnNode::open(context.client()?, Height(height), trust)?;
            return Ok(Self::Node(on_node));
        }
        Ok(match Carried::open(text, trust)? {
            Carried::Bucket(objects) => Self::Bucket(objects),
            Carried::File(name, archive) => {
                let file = ArchiveFile::index(archive).map_err(|e| unreadable(&name, &e))?;
                Self::File(name, file)
            }
        })
    }

    /// Its manifest.
    pub const fn manifest(&self) -> &Manifest {
        match self {
            Self::Node(on_node) => &on_node.manifest,
            Self::File(_, file) => file.manifest(),
            Self::Bucket(objects) => &objects.manifest,
        }
    }
}

impl Chunks for Source {
    type Error = Failure;

    fn load(&self, chunks: &[ChunkRef]) -> Result<Vec<VerifiedChunk>> {
        let all = chunks.iter();
        match self {
            Self::Node(on_node) => all.map(|chunk| Ok(on_node.fetch(chunk)?.0)).collect(),
            Self::File(name, file) => all
                .map(|chunk| file.load_chunk(chunk).map_err(|e| unreadable(name, &e)))
                .collect(),
            Self::Bucket(objects) => {
                let fetched = objects.fetch(chunks).into_iter();
                fetched.map(|chunk| Ok(chunk?.chunk)).collect()
            }
        }
    }
}
