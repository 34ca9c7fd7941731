//! The manifest: what a snapshot consists of, and why it may be believed.
//!
//! # What it is
//! The header of a block and the certificate that makes it final; the validators of that height; and for each chunk, in the
//! order of the tree, its prefix, hash, entries and bytes. The chunks are the largest subtrees of at most
//! [`Manifest::chunk_bytes_max`] bytes ([`ledger::state::tree::Tree::cut`]): every node makes the same ones.
//!
//! # Trust
//! A [`Manifest`] is believed only as far as it was verified: it comes from [`UntrustedManifest::verify`], or from a state of our
//! own. Verified are
//! 1. header, certificate and validators, by [`ledger::light::verify_skipping`];
//! 2. the chunks: folded up they give the state root in the header, and they are the right cut
//!    ([`ledger::state::tree::fold_cut`]). So each chunk's hash and totals are proven before it is fetched. Two things are proven
//!    only by the chunk itself: the bits of its prefix past where it parts from its neighbours, and, of a snapshot of a *single*
//!    chunk, its totals. [`Manifest::verify_chunk`] minds that, and tells a lying manifest from a lying chunk.
//!
//! The parameter `chunk_bytes_max` is part of the state and thus known for certain only when the chunks are there; a manifest
//! cut at another one describes the same state.
//!
//! # Cost
//! 82 bytes and one hash a chunk: 10 M entries of 100 bytes in chunks of 256 KiB are 6,000 chunks, 500 KB. Bounded by
//! [`CHUNKS_MAX`] and [`MANIFEST_BYTES_MAX`]; nothing is allocated for what the bytes only promise.

mod error;

pub use error::ManifestError;

use crate::chunk::{self, ChunkError, ChunkId, VerifiedChunk};
use ledger::{
    block::{CertifiedHeader, Header},
    certificate::Certificate,
    codec::{self, CodecError},
    hash::{BlockHash, ChainId, Domain, Hash, Hasher, StateRoot},
    light::{self, Checkpoint, LightBlock, Trusted},
    state::tree::{Folded, Part, Prefix, Subtree, Totals, Tree, fold_cut},
    units::Height,
    validators::ValidatorSet,
};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// Chunks a snapshot may have: with the usual 256 KiB, some 16 GB of state.
pub const CHUNKS_MAX: usize = 100_000;
/// Bytes of an encoded manifest: [`CHUNKS_MAX`] chunks of 82 bytes, and the largest header, certificate and set. A peer's
/// answer may not be longer.
pub const MANIFEST_BYTES_MAX: usize = 8 << 20;
/// The smallest `chunk_bytes_max` that is read; chains have at least 80 KiB, tests less.
pub const CHUNK_BYTES_MAX_MIN: u64 = 1 << 9;
/// The largest `chunk_bytes_max` that is read, as the genesis allows.
pub const CHUNK_BYTES_MAX_MAX: u64 = 4 << 20;

/// The first byte of an encoded manifest.
const FORMAT: u8 = 1;

/// What names a manifest: a hash over all of it but the certificate, which differs from node to node.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ManifestId(pub Hash);

impl fmt::Display for ManifestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One chunk, as a manifest lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRef {
    /// The longest prefix that all places in it share.
    pub prefix: Prefix,
    /// The hash of its subtree: its id.
    pub hash: Hash,
    /// Entries in it.
    pub entries: u64,
    /// Bytes in it, uncompressed: of each entry its key, its value and eight.
    pub bytes: u64,
}

impl ChunkRef {
    /// The chunk's id.
    pub const fn id(&self) -> ChunkId {
        ChunkId(self.hash)
    }

    /// The same, as the tree says it.
    pub const fn part(&self) -> Part {
        Part {
            prefix: self.prefix,
            hash: self.hash,
            totals: Totals {
                entries: self.entries,
                bytes: self.bytes,
            },
        }
    }
}

impl From<&Subtree> for ChunkRef {
    fn from(subtree: &Subtree) -> Self {
        let Part {
            prefix,
            hash,
            totals: Totals { entries, bytes },
        } = subtree.part();
        Self {
            prefix,
            hash,
            entries,
            bytes,
        }
    }
}

/// What is encoded after the format byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    header: Header,
    certificate: Certificate,
    validators: ValidatorSet,
    chunk_bytes_max: u64,
    chunks: Vec<ChunkRef>,
}

impl Content {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        bytes.extend(codec::encode(self));
        bytes
    }

    fn id(&self) -> ManifestId {
        let covered = codec::encode(&(
            &self.header,
            &self.validators,
            self.chunk_bytes_max,
            &self.chunks,
        ));
        let hash = Hasher::new(Domain::Manifest).chain([FORMAT]).chain(covered);
        ManifestId(hash.finish())
    }

    fn certified(&self) -> CertifiedHeader {
        CertifiedHeader {
            header: self.header.clone(),
            certificate: self.certificate.clone(),
        }
    }

    fn check_cut(&self) -> Result<Totals, ManifestError> {
        let (found, max) = (self.chunks.len(), CHUNKS_MAX);
        if found > max {
            return Err(ManifestError::TooManyChunks { found });
        }
        if !(CHUNK_BYTES_MAX_MIN..=CHUNK_BYTES_MAX_MAX).contains(&self.chunk_bytes_max) {
            return Err(ManifestError::ChunkBytesMax(self.chunk_bytes_max));
        }
        if let Some(chunk) = self.chunks.iter().find(|c| c.bytes > chunk::BYTES_MAX) {
            return Err(ManifestError::ChunkTooLarge {
                prefix: chunk.prefix,
                bytes: chunk.bytes,
            });
        }
        let parts: Vec<Part> = self.chunks.iter().map(ChunkRef::part).collect();
        let Folded { root, totals } = fold_cut(&parts, self.chunk_bytes_max)?;
        if root != self.header.state_root {
            return Err(ManifestError::OtherRoot {
                found: root,
                expected: self.header.state_root,
            });
        }
        Ok(totals)
    }
}

/// A manifest that somebody claims: bounded and well-formed, nothing more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UntrustedManifest(Content);

impl UntrustedManifest {
    /// Decodes one.
    ///
    /// # Errors
    /// [`ManifestError::Format`] and [`ManifestError::Codec`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        match bytes.split_first() {
            Some((&FORMAT, content)) => {
                let content: Content = codec::decode(content, MANIFEST_BYTES_MAX)?;
                Ok(Self(content))
            }
            Some((&other, _)) => Err(ManifestError::Format(other)),
            None => Err(CodecError::Malformed("no bytes".to_owned()).into()),
        }
    }

    /// The id that its content has: true whatever the content is worth.
    pub fn id(&self) -> ManifestId {
        self.0.id()
    }

    /// The ids of the chunks that it lists.
    pub fn chunk_ids(&self) -> impl Iterator<Item = ChunkId> {
        self.0.chunks.iter().map(ChunkRef::id)
    }

    /// The height that it claims.
    pub const fn height_claimed(&self) -> Height {
        self.0.header.height
    }

    /// Verifies it, as the module's head says, from a validator set that is trusted.
    ///
    /// # Errors
    /// [`ManifestError`] names the first fault.
    pub fn verify(
        self,
        chain: &ChainId,
        trusted: &ValidatorSet,
    ) -> Result<Manifest, ManifestError> {
        light::verify_skipping(chain, trusted, &self.0.certified(), &self.0.validators)?;
        self.complete()
    }

    /// Verifies it as the snapshot of a block that is trusted, whoever its validators are: the header names their hash.
    ///
    /// # Errors
    /// [`LightError::OtherBlock`](light::LightError::OtherBlock) of another block; else as [`Self::verify`].
    pub fn verify_block(self, trusted: Checkpoint) -> Result<Manifest, ManifestError> {
        let block = LightBlock::new(self.0.certified(), self.0.validators.clone());
        Trusted::block(trusted, block)?;
        self.complete()
    }

    /// Verifies one that this node has kept: that it holds together and its certificate with it. That the validators are
    /// the chain's was seen when it was stored.
    pub(crate) fn verify_own(self, expected: ManifestId) -> Result<Manifest, ManifestError> {
        let found = self.id();
        if found != expected {
            return Err(ManifestError::OtherId {
                found: found.0,
                expected: expected.0,
            });
        }
        let chain = self.0.header.chain;
        light::verify_alone(&chain, &self.0.certified(), &self.0.validators)?;
        self.complete()
    }

    fn complete(self) -> Result<Manifest, ManifestError> {
        let totals = self.0.check_cut()?;
        Ok(Manifest {
            id: self.0.id(),
            totals,
            content: self.0,
        })
    }
}

/// A snapshot with its state in memory: what another one is compared with.
#[derive(Clone, Debug)]
pub struct Picture {
    /// What it consists of.
    pub manifest: Arc<Manifest>,
    /// The state, or some of its chunks.
    pub tree: Tree,
}

impl Picture {
    /// The chunk on which what lies below `prefix` now can be a patch, and what it holds.
    pub fn base_of(&self, prefix: &Prefix) -> Option<(ChunkId, Subtree)> {
        let base = self.manifest.chunk_of_all_below(prefix)?;
        let held = self.tree.subtree(&base.prefix)?;
        (held.part() == base.part()).then(|| (base.id(), held))
    }
}

/// A verified manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    content: Content,
    id: ManifestId,
    totals: Totals,
}

impl Manifest {
    /// The manifest of a state of this node's own, with its chunks in the same order. The certificate must hold under
    /// `validators`, the set of the header's height, and the tree must have the header's root.
    ///
    /// # Errors
    /// [`ManifestError`] if what was given does not belong together: a mistake of the caller's.
    pub fn of_tree(
        tree: &Tree,
        certified: CertifiedHeader,
        validators: ValidatorSet,
        chunk_bytes_max: u64,
    ) -> Result<(Self, Vec<Subtree>), ManifestError> {
        let subtrees = tree.cut(chunk_bytes_max);
        let CertifiedHeader {
            header,
            certificate,
        } = certified;
        let content = Content {
            chunks: subtrees.iter().map(ChunkRef::from).collect(),
            header,
            certificate,
            validators,
            chunk_bytes_max,
        };
        let untrusted = UntrustedManifest(content);
        let id = untrusted.id();
        Ok((untrusted.verify_own(id)?, subtrees))
    }

    /// The manifest with something in it changed by a liar.
    #[cfg(test)]
    pub(crate) fn forged(
        &self,
        forge: impl FnOnce(&mut CertifiedHeader, &mut Vec<ChunkRef>),
    ) -> (ManifestId, Vec<u8>) {
        let mut content = self.content.clone();
        let mut certified = content.certified();
        forge(&mut certified, &mut content.chunks);
        content.header = certified.header;
        content.certificate = certified.certificate;
        (content.id(), content.encode())
    }

    /// What it is before it is verified.
    pub(crate) fn as_untrusted(&self) -> UntrustedManifest {
        UntrustedManifest(self.content.clone())
    }

    /// The canonical encoding.
    pub fn encode(&self) -> Vec<u8> {
        self.content.encode()
    }

    /// Its id.
    pub const fn id(&self) -> ManifestId {
        self.id
    }

    /// The header.
    pub const fn header(&self) -> &Header {
        &self.content.header
    }

    /// The certificate; other nodes may hold another one.
    pub const fn certificate(&self) -> &Certificate {
        &self.content.certificate
    }

    /// Header and certificate.
    pub fn certified(&self) -> CertifiedHeader {
        self.content.certified()
    }

    /// The validators of the height.
    pub const fn validators(&self) -> &ValidatorSet {
        &self.content.validators
    }

    /// The height of the block it shows the state after.
    pub const fn height(&self) -> Height {
        self.content.header.height
    }

    /// The block.
    pub fn block(&self) -> BlockHash {
        self.content.header.hash()
    }

    /// The root of the state.
    pub const fn root(&self) -> StateRoot {
        self.content.header.state_root
    }

    /// Bytes at which the tree is cut.
    pub const fn chunk_bytes_max(&self) -> u64 {
        self.content.chunk_bytes_max
    }

    /// The chunks, in the order of the tree. No two have one id.
    pub const fn chunks(&self) -> &[ChunkRef] {
        self.content.chunks.as_slice()
    }

    /// The ids of the chunks, in the order of the tree.
    pub fn chunk_ids(&self) -> impl Iterator<Item = ChunkId> {
        self.content.chunks.iter().map(ChunkRef::id)
    }

    /// The chunk of an id, if it is one of this snapshot's. Looks at each.
    pub fn chunk(&self, id: &ChunkId) -> Option<&ChunkRef> {
        self.content.chunks.iter().find(|c| c.id() == *id)
    }

    /// The chunk that holds all there is below a prefix, if one does.
    fn chunk_of_all_below(&self, prefix: &Prefix) -> Option<&ChunkRef> {
        let chunks = self.chunks();
        // In the order of places, so that what begins within the prefix is together, and only the one before can cover it.
        let first = chunks.partition_point(|c| c.prefix.bits() < prefix.bits());
        let rest = chunks.get(first..).unwrap_or_default();
        let mut within = rest.iter().take_while(|c| prefix.covers(&c.prefix));
        let covering = |c: &&ChunkRef| c.prefix.covers(prefix);
        match (within.next(), within.next()) {
            (Some(only), None) => Some(only),
            (Some(_), Some(_)) => None,
            (None, _) => {
                let before = first.checked_sub(1).and_then(|at| chunks.get(at));
                before.filter(covering).or(rest.first().filter(covering))
            }
        }
    }

    /// Entries and bytes of the whole state.
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// Verifies the bytes of one of this manifest's chunks.
    ///
    /// # Errors
    /// [`ChunkError`]; [`ChunkError::NotAsListed`] convicts the manifest, every other the chunk's bytes.
    pub fn verify_chunk(
        &self,
        chunk: &ChunkRef,
        bytes: &[u8],
    ) -> Result<VerifiedChunk, ChunkError> {
        chunk::verify_within(bytes, chunk, self.bytes_max(chunk))
    }

    /// Verifies a patch on a subtree at hand, as one of this manifest's chunks.
    ///
    /// # Errors
    /// As [`Self::verify_chunk`]; [`ChunkError::OtherBase`] too convicts the bytes, if `base` is what was asked for.
    pub fn verify_patch(
        &self,
        chunk: &ChunkRef,
        base: &Subtree,
        bytes: &[u8],
    ) -> Result<VerifiedChunk, ChunkError> {
        chunk::patch::verify_on(base, bytes, chunk, self.bytes_max(chunk))
    }

    /// Verifies a chunk from what is kept of it.
    pub(crate) fn verify_chain(
        &self,
        chunk: &ChunkRef,
        whole: &[u8],
        newest_first: &[Vec<u8>],
    ) -> Result<VerifiedChunk, ChunkError> {
        chunk::patch::verify_chain(whole, newest_first, chunk, self.bytes_max(chunk))
    }

    /// Bytes that a chunk may have. The totals of a single part are not under any hash: a lie there must not convict an
    /// honest chunk.
    const fn bytes_max(&self, chunk: &ChunkRef) -> u64 {
        match self.chunks() {
            [_] => chunk::BYTES_MAX,
            _ => chunk.bytes,
        }
    }
}

#[cfg(test)]
mod tests;
