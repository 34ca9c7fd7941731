//! `snapshot export`, `import` and `verify`: a snapshot in a file, or in an object store.

use super::{
    draft::Draft,
    location::Location,
    objects::{InBucket, Uploaded},
    source::{Carried, OnNode},
    trust::{Trust, TrustArgs},
};
use crate::{
    context::Context,
    failure::{Exit, Failure, Result},
    table::{fields, grouped},
    testnet::Testnet,
};
use ::node::config::NodeDir;
use indicatif::{ProgressBar, ProgressStyle};
use ledger::{
    hash::{BlockHash, Hash, StateRoot},
    light::Checkpoint,
    store::DirLock,
    units::Height,
};
use serde::Serialize;
use snapshot::{
    archive::{ArchiveError, ArchiveWriter},
    manifest::Manifest,
    store::{Store, StoreError},
};
use std::{fs::File, io::BufWriter, path::Path};

/// What is said of a snapshot that was checked.
const HOLDS: &str = "yes: certificate and chunks hold";

/// What is in an archive, or of one snapshot in an object store.
#[derive(Debug, Serialize)]
struct Report {
    file: String,
    height: Height,
    block_hash: BlockHash,
    root: StateRoot,
    manifest: Hash,
    entries: u64,
    chunks: u64,
    /// Bytes of the entries.
    bytes: u64,
    /// Bytes of the file, or of the snapshot's objects.
    file_bytes: u64,
    /// Whether certificate and chunks were checked: all of them.
    verified: bool,
    /// Of an export to an object store: chunks that were missing there.
    #[serde(skip_serializing_if = "Option::is_none")]
    chunks_uploaded: Option<u64>,
    /// Bytes of these, and of the manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_uploaded: Option<u64>,
}

impl Report {
    fn of(file: &str, manifest: &Manifest, file_bytes: u64) -> Self {
        Self {
            file: file.to_owned(),
            height: manifest.height(),
            block_hash: manifest.block(),
            root: manifest.root(),
            manifest: manifest.id().0,
            entries: manifest.totals().entries,
            chunks: manifest.chunks().len() as u64,
            bytes: manifest.totals().bytes,
            file_bytes,
            verified: true,
            chunks_uploaded: None,
            bytes_uploaded: None,
        }
    }

    /// Of an export to an object store.
    fn of_upload(url: &str, manifest: &Manifest, uploaded: Uploaded) -> Self {
        let whole = Self::of(url, manifest, uploaded.bytes_total);
        Self {
            // What was there already was not looked at.
            verified: uploaded.chunks == whole.chunks,
            chunks_uploaded: Some(uploaded.chunks),
            bytes_uploaded: Some(uploaded.bytes),
            ..whole
        }
    }

    fn text(&self, done: &str) -> String {
        let mut lines = vec![
            ("file", self.file.clone()),
            ("height", grouped(self.height.0)),
            ("block", self.block_hash.to_string()),
            ("root", self.root.to_string()),
            ("entries", grouped(self.entries)),
            ("chunks", grouped(self.chunks)),
            ("bytes", grouped(self.bytes)),
            ("file bytes", grouped(self.file_bytes)),
            ("verified", done.to_owned()),
        ];
        let figures = [
            ("chunks uploaded", self.chunks_uploaded),
            ("bytes uploaded", self.bytes_uploaded),
        ];
        lines.extend(
            figures
                .into_iter()
                .filter_map(|(name, n)| Some((name, grouped(n?)))),
        );
        fields(&lines)
    }
}

/// Writes a node's snapshot into a file or an object store. Each chunk is verified before it is written.
///
/// # Errors
/// If the node has no such snapshot or sends something else, or it cannot be written; then it is not there.
pub fn export(context: &Context, height: u64, to: &str, force: bool, trust: &TrustArgs) -> Result {
    match Location::parse(to)? {
        Some(location) => upload(context, height, &location, force, trust),
        None => export_to_file(context, height, to, force, trust),
    }
}

fn upload(
    context: &Context,
    height: u64,
    location: &Location,
    force: bool,
    trust: &TrustArgs,
) -> Result {
    let url = location.url_of(Height(height));
    if location.height.is_some_and(|named| named.0 != height) {
        return Err(
            Failure::usage(format!("the snapshot of {height} becomes {url}"))
                .help("leave the height out of the URL"),
        );
    }
    let trust = trust.resolve(context)?;
    let source = OnNode::open(context.client()?, Height(height), &trust)?;
    let bar = bar(context, source.manifest.totals().bytes);
    let uploaded = InBucket::export(location, &source, force, &bar);
    bar.finish_and_clear();
    let report = Report::of_upload(&url, &source.manifest, uploaded?);
    context.out.result(&report, || {
        report.text(if report.verified {
            HOLDS
        } else {
            "what was uploaded; `tintype snapshot verify` checks what was there too"
        })
    });
    Ok(())
}

fn export_to_file(
    context: &Context,
    height: u64,
    file: &str,
    force: bool,
    trust: &TrustArgs,
) -> Result {
    let trust = trust.resolve(context)?;
    let path = Path::new(file);
    // Interrupted or failed, it leaves nothing under the name of a whole.
    let mut draft = Draft::begin(path, force)?;
    let source = OnNode::open(context.client()?, Height(height), &trust)?;
    let bytes = write(context, &source, draft.file(), path)?;
    draft.finish()?;
    let report = Report::of(file, &source.manifest, bytes);
    context.out.result(&report, || report.text(HOLDS));
    Ok(())
}

/// Writes a snapshot into a file that is to be called `path`.
fn write(context: &Context, source: &OnNode, file: &mut File, path: &Path) -> Result<u64> {
    let failed = |error: &std::io::Error| Failure::io("cannot write", path, error);
    let unwritten = |error: ArchiveError| match error {
        ArchiveError::Io(error) => failed(&error),
        error => Failure::failed("io", error.to_string()),
    };
    let mut writer =
        ArchiveWriter::begin(BufWriter::new(file), &source.manifest).map_err(unwritten)?;
    let bar = bar(context, source.manifest.totals().bytes);
    for chunk in source.manifest.chunks() {
        let (verified, bytes) = source.fetch(chunk)?;
        writer.put(&verified, &bytes).map_err(unwritten)?;
        bar.inc(chunk.bytes);
    }
    bar.finish_and_clear();
    let (file, bytes) = writer.finish().map_err(unwritten)?;
    let file = file.into_inner().map_err(|error| failed(error.error()))?;
    file.sync_all().map_err(|error| failed(&error))?;
    Ok(bytes)
}

/// Checks a carried snapshot from its first byte to its last.
///
/// # Errors
/// Exit code 4 names the first fault.
pub fn verify(context: &Context, from: &str, trust: &TrustArgs) -> Result {
    let trust = trust.resolve(context)?;
    let mut carried = Carried::open(from, &trust)?;
    let bar = bar(context, carried.manifest().totals().bytes);
    let bytes = carried.each(|chunk| {
        bar.inc(chunk.chunk.subtree().totals().bytes);
        Ok(())
    });
    bar.finish_and_clear();
    let report = Report::of(carried.name(), carried.manifest(), bytes?);
    context.out.result(&report, || report.text(HOLDS));
    Ok(())
}

/// Puts a carried snapshot into the folder of a node that does not run; it starts from it.
///
/// # Errors
/// Exit code 4 if the snapshot has a fault: then the folder is as it was.
pub fn import(
    context: &Context,
    from: &str,
    node: Option<&str>,
    trust: Option<Checkpoint>,
) -> Result {
    let dir = node_dir(context, node)?;
    // A testnet's node that was wiped gets its own again when it starts.
    let genesis = dir.genesis().or_else(|error| {
        let of_testnet = Testnet::at(&context.dir).genesis();
        of_testnet.map_err(|_| Failure::from(error))
    })?;
    let chain = genesis.chain_id();
    let trust = match trust {
        Some(block) => Trust::Blocks(block, Vec::new()),
        None => Trust::Genesis(Box::new(genesis)),
    };
    let mut carried = Carried::open(from, &trust)?;
    if carried.manifest().header().chain != chain {
        let message = format!(
            "{} is of chain {}, the node in {} of chain {chain}",
            carried.name(),
            carried.manifest().header().chain,
            dir.path().display()
        );
        return Err(Failure::new(Exit::Disagreement, "other_chain", message));
    }
    let _lock = DirLock::acquire(dir.path()).map_err(|error| match error {
        ledger::store::StoreError::Locked { .. } => {
            let message = format!("the node in {} runs", dir.path().display());
            Failure::failed("node_running", message).help("stop it, import, and start it again")
        }
        error => error.into(),
    })?;
    let store = Store::open(&dir.snapshots()).map_err(|e| of_store(&e))?;
    let bar = bar(context, carried.manifest().totals().bytes);
    let imported = put(&store, &mut carried, &bar);
    bar.finish_and_clear();
    if imported.is_err() {
        // Gives the space back; a later start would do it too.
        let _ = store.sweep();
    }
    let report = Report::of(carried.name(), carried.manifest(), imported?);
    let done = format!("yes; {} starts from it", dir.path().display());
    context.out.result(&report, || report.text(&done));
    Ok(())
}

fn put(store: &Store, carried: &mut Carried, bar: &ProgressBar) -> Result<u64> {
    let manifest = carried.manifest().clone();
    let _pin = store.pin(manifest.chunk_ids());
    let bytes = carried.each(|chunk| {
        let subtree = chunk.chunk.subtree();
        store
            .put_chunk(manifest.id(), subtree, &chunk.bytes)
            .map_err(|e| of_store(&e))?;
        bar.inc(subtree.totals().bytes);
        Ok(())
    })?;
    store.put_manifest(&manifest).map_err(|e| of_store(&e))?;
    Ok(bytes)
}

fn of_store(error: &StoreError) -> Failure {
    match error {
        StoreError::Io {
            doing,
            path,
            source,
        } => Failure::io(&format!("cannot {doing}"), path, source),
        other => Failure::failed("io", other.to_string()),
    }
}

/// The folder of the node that was named, by its name or its folder; without a word, the folder that `--dir` names.
fn node_dir(context: &Context, node: Option<&str>) -> Result<NodeDir> {
    let is_node = |path: &Path| path.join("tintype.toml").is_file();
    match node {
        Some(path) if is_node(Path::new(path)) => Ok(NodeDir::new(path)),
        Some(name) => Ok(context.testnet()?.member(name)?.dir),
        None if is_node(&context.dir) => Ok(NodeDir::new(&context.dir)),
        None => Err(Failure::usage("which node shall start from it?")
            .help("name one of the testnet, or a node's folder, after the file")),
    }
}

fn bar(context: &Context, bytes: u64) -> ProgressBar {
    if !context.out.has_progress() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(
        "{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
    );
    let bar = ProgressBar::new(bytes);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
