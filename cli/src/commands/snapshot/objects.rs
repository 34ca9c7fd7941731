//! Snapshots in an object store: what lies where in a bucket's folder, and in which order it is written and believed.
//!
//! ```text
//! manifests/HEIGHT-ID     a manifest, as a node keeps it; the height in 20 digits, so that the last name is the newest
//! chunks/ID               a chunk, whole
//! ```
//! Chunks are put first and the manifest last: where a manifest is, the snapshot is whole, and an export that was killed leaves
//! only chunks that the next one finds. Equal chunks of several snapshots are one object.
//!
//! # Trust
//! None in the bucket. The manifest is believed as any other, by its certificate, and each chunk is verified as it comes. That
//! an object is *there* is taken from a listing: a damaged one is found by who reads it, not by who adds to it.
//!
//! # Cost
//! An export lists `chunks/` once (a request for every 1000 objects, where asking for each would be one a chunk), and fetches
//! from the node what is missing there and nothing else. Memory is that of [`TOGETHER`] chunks.

use super::{
    bucket::Bucket,
    location::Location,
    source::OnNode,
    trust::{Trust, unbelieved},
};
use crate::failure::{Exit, Failure, Result};
use indicatif::ProgressBar;
use ledger::units::Height;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use snapshot::{
    archive::VerifiedBytes,
    chunk::{self, ChunkId},
    manifest::{ChunkRef, MANIFEST_BYTES_MAX, Manifest, ManifestId, UntrustedManifest},
};
use std::{collections::BTreeMap, ops::ControlFlow};

/// Chunks that are fetched or put together, and then verified together.
const TOGETHER: usize = 16;

const MANIFESTS: &str = "manifests";
const CHUNKS: &str = "chunks";

/// A snapshot in an object store, whose manifest was verified.
#[derive(Debug)]
pub struct InBucket {
    bucket: Bucket,
    /// Its URL, with the height.
    pub name: String,
    /// The manifest.
    pub manifest: Manifest,
}

/// What an export put into an object store.
#[derive(Clone, Copy, Debug, Default)]
pub struct Uploaded {
    /// Chunks that were missing.
    pub chunks: u64,
    /// Bytes of these and of the manifest.
    pub bytes: u64,
    /// Bytes of all of the snapshot that is there now.
    pub bytes_total: u64,
}

fn manifest_name(height: Height, id: ManifestId) -> String {
    format!("{:020}-{id}", height.0)
}

/// The height that the name of a manifest tells, and the manifest's id.
fn parse_manifest_name(name: &str) -> Option<(Height, ManifestId)> {
    let (height, id) = name.split_once('-')?;
    let parsed = (Height(height.parse().ok()?), ManifestId(id.parse().ok()?));
    (manifest_name(parsed.0, parsed.1) == name).then_some(parsed)
}

fn chunk_name(id: ChunkId) -> String {
    format!("{CHUNKS}/{id}")
}

impl InBucket {
    /// The snapshot that a location names.
    ///
    /// # Errors
    /// If there is none, or its manifest is not believed.
    pub fn open(location: &Location, trust: &Trust) -> Result<Self> {
        let bucket = Bucket::open(location)?;
        let (height, id) = find(&bucket, location)?;
        let name = location.url_of(height);
        let lies = |what: String| {
            let message = format!("{name} does not verify: {what}");
            Failure::new(Exit::Disagreement, "verification_failed", message)
        };
        let object = format!("{MANIFESTS}/{}", manifest_name(height, id));
        let mut got = bucket.get(&[object], MANIFEST_BYTES_MAX);
        let bytes = got.pop().unwrap_or_else(|| Err(nothing_at(&name)))?;
        let claimed = UntrustedManifest::decode(&bytes).map_err(|e| unbelieved(&name, &e))?;
        if (claimed.height_claimed(), claimed.id()) != (height, id) {
            let found = manifest_name(claimed.height_claimed(), claimed.id());
            return Err(lies(format!("its manifest is {found}")));
        }
        let manifest = trust.verify(claimed).map_err(|e| unbelieved(&name, &e))?;
        Ok(Self {
            bucket,
            name,
            manifest,
        })
    }

    /// Puts a node's snapshot there: what is missing, or with `all` everything.
    ///
    /// # Errors
    /// If the node does not give it or the server does not take it. Then there is no manifest, and the snapshot not offered.
    pub fn export(
        location: &Location,
        source: &OnNode,
        all: bool,
        bar: &ProgressBar,
    ) -> Result<Uploaded> {
        let manifest = &source.manifest;
        let bucket = Bucket::open(location)?;
        let there = if all {
            BTreeMap::new()
        } else {
            sizes(&bucket, manifest)?
        };
        let is_missing = |chunk: &&ChunkRef| !there.contains_key(&chunk.id());
        let missing: Vec<&ChunkRef> = manifest.chunks().iter().filter(is_missing).collect();
        let kept: u64 = manifest.chunks().iter().map(|chunk| chunk.bytes).sum();
        bar.inc(kept - missing.iter().map(|chunk| chunk.bytes).sum::<u64>());
        let mut uploaded = Uploaded {
            chunks: missing.len() as u64,
            ..Uploaded::default()
        };
        for batch in missing.chunks(TOGETHER) {
            let mut objects = Vec::new();
            for chunk in batch {
                let (_, bytes) = source.fetch(chunk)?;
                uploaded.bytes += bytes.len() as u64;
                objects.push((chunk_name(chunk.id()), bytes));
            }
            bucket.put(objects)?;
            bar.inc(batch.iter().map(|chunk| chunk.bytes).sum());
        }
        let bytes = manifest.encode();
        uploaded.bytes += bytes.len() as u64;
        uploaded.bytes_total = uploaded.bytes + there.values().sum::<u64>();
        let name = manifest_name(manifest.height(), manifest.id());
        bucket.put(vec![(format!("{MANIFESTS}/{name}"), bytes)])?;
        Ok(uploaded)
    }

    /// Shows each chunk in the manifest's order, verified, until one is not what it should be. Gives the bytes stored.
    ///
    /// # Errors
    /// Exit code 4 names the first chunk that is missing or wrong.
    pub fn each(&self, mut see: impl FnMut(VerifiedBytes) -> Result) -> Result<u64> {
        let mut bytes = self.manifest.encode().len() as u64;
        for batch in self.manifest.chunks().chunks(TOGETHER) {
            for chunk in self.fetch(batch) {
                let chunk = chunk?;
                bytes += chunk.bytes.len() as u64;
                see(chunk)?;
            }
        }
        Ok(bytes)
    }

    /// Fetches chunks and verifies them, in the order given.
    pub fn fetch(&self, chunks: &[ChunkRef]) -> Vec<Result<VerifiedBytes>> {
        let names: Vec<String> = chunks.iter().map(|chunk| chunk_name(chunk.id())).collect();
        let got = self.bucket.get(&names, chunk::ENCODED_BYTES_MAX);
        let fetched: Vec<_> = chunks.iter().zip(got).collect();
        let verify = |(chunk, got): (&ChunkRef, Result<Vec<u8>>)| {
            let bytes = got.map_err(|failure| match &*failure.code {
                "not_found" => self.wrong(chunk, "it is not there"),
                "verification_failed" => self.wrong(chunk, &failure.message),
                _ => failure,
            })?;
            let verified = self.manifest.verify_chunk(chunk, &bytes);
            let chunk = verified.map_err(|e| self.wrong(chunk, &e.to_string()))?;
            Ok(VerifiedBytes { chunk, bytes })
        };
        fetched.into_par_iter().map(verify).collect()
    }

    /// A chunk that is not what the manifest lists.
    fn wrong(&self, chunk: &ChunkRef, why: &str) -> Failure {
        let index = self.manifest.chunks().iter().position(|c| c == chunk);
        let message = format!(
            "{} does not verify: chunk {} of {}, {}, below {}: {why}",
            self.name,
            index.unwrap_or_default() + 1,
            self.manifest.chunks().len(),
            chunk_name(chunk.id()),
            chunk.prefix,
        );
        Failure::new(Exit::Disagreement, "verification_failed", message).help(
            "nothing of it was used; `tintype snapshot export --force` from a node that has it puts all its chunks there anew",
        )
    }
}

/// The newest manifest in a folder, or the one of the height that is named.
fn find(bucket: &Bucket, location: &Location) -> Result<(Height, ManifestId)> {
    let wanted = location.height;
    // No name of a lower height comes after it, and the one looked for does.
    let after = wanted.map_or_else(String::new, |height| format!("{:020}", height.0));
    let mut found = None;
    bucket.list(MANIFESTS, &after, |name, _| {
        let Some(named) = parse_manifest_name(name) else {
            return ControlFlow::Continue(());
        };
        match wanted {
            None => found = Some(named),
            Some(height) => {
                found = Some(named).filter(|(h, _)| *h == height);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    let name = wanted.map_or_else(|| location.folder_url(), |height| location.url_of(height));
    found.ok_or_else(|| nothing_at(&name))
}

fn nothing_at(name: &str) -> Failure {
    Failure::not_found(format!("there is no snapshot at {name}"))
        .help("a URL is s3://BUCKET/PREFIX, the folder that `tintype snapshot export` was given, with @HEIGHT for one that is not the newest")
}

/// Which chunks of a manifest are there, and how large.
fn sizes(bucket: &Bucket, manifest: &Manifest) -> Result<BTreeMap<ChunkId, u64>> {
    let mut there = BTreeMap::new();
    bucket.list(CHUNKS, "", |name, bytes| {
        let id = name.parse().ok().map(ChunkId);
        if let Some(id) = id.filter(|id| manifest.chunk(id).is_some()) {
            there.insert(id, bytes);
        }
        ControlFlow::Continue(())
    })?;
    Ok(there)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::hash::Hash;

    #[test]
    fn names_of_manifests_sort_by_height_and_read_back() {
        let id = ManifestId(Hash([0xab; 32]));
        let names: Vec<String> = [7, 10, u64::MAX]
            .map(|height| manifest_name(Height(height), id))
            .into();
        assert!(names.is_sorted(), "{names:?}");
        assert_eq!(parse_manifest_name(&names[1]), Some((Height(10), id)));
        for other in ["", "7", "7-", &names[0][1..], &names[0].to_uppercase()] {
            assert_eq!(parse_manifest_name(other), None, "{other}");
        }
    }
}
