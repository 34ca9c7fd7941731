//! `snapshot export`, `import` and `verify`: a snapshot in a file.

use super::{
    source::{OnNode, open_file},
    trust::{Trust, TrustArgs, unreadable},
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
    archive::{Archive, ArchiveWriter, UnverifiedArchive},
    manifest::Manifest,
    store::{Store, StoreError},
};
use std::{
    fs::{self, File},
    io::BufWriter,
    path::{Path, PathBuf},
};

/// What is in an archive.
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
    /// Bytes of the file.
    file_bytes: u64,
    verified: bool,
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
        }
    }

    fn text(&self, done: &str) -> String {
        fields(&[
            ("file", self.file.clone()),
            ("height", grouped(self.height.0)),
            ("block", self.block_hash.to_string()),
            ("root", self.root.to_string()),
            ("entries", grouped(self.entries)),
            ("chunks", grouped(self.chunks)),
            ("bytes", grouped(self.bytes)),
            ("file bytes", grouped(self.file_bytes)),
            ("verified", done.to_owned()),
        ])
    }
}

/// Writes a node's snapshot into a file. Each chunk is verified before it is written.
///
/// # Errors
/// If the node has no such snapshot or sends something else, or the file cannot be written; then it is not there.
pub fn export(
    context: &Context,
    height: u64,
    file: &str,
    force: bool,
    trust: &TrustArgs,
) -> Result {
    let path = Path::new(file);
    if path.exists() && !force {
        let message = format!("{file} is there already");
        return Err(Failure::failed("exists", message).help("choose another name, or --force"));
    }
    let trust = trust.resolve(context)?;
    let source = OnNode::open(context.client()?, Height(height), &trust)?;
    let temporary = PathBuf::from(format!("{file}.new"));
    // Interrupted or failed, it leaves nothing under the name of a whole.
    let written = write(context, &source, &temporary);
    let bytes = match written {
        Ok(bytes) => bytes,
        Err(failure) => {
            let _ = fs::remove_file(&temporary);
            return Err(failure);
        }
    };
    fs::rename(&temporary, path).map_err(|error| Failure::io("cannot name", path, &error))?;
    let report = Report::of(file, &source.manifest, bytes);
    context
        .out
        .result(&report, || report.text("yes: certificate and chunks hold"));
    Ok(())
}

fn write(context: &Context, source: &OnNode, path: &Path) -> Result<u64> {
    let failed = |error: &std::io::Error| Failure::io("cannot write", path, error);
    let unwritten = |error: snapshot::archive::ArchiveError| match error {
        snapshot::archive::ArchiveError::Io(error) => failed(&error),
        error => Failure::failed("io", error.to_string()),
    };
    let file = File::create(path).map_err(|error| failed(&error))?;
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

/// Checks an archive from its first byte to its last.
///
/// # Errors
/// Exit code 4 names the first fault.
pub fn verify(context: &Context, file: &str, trust: &TrustArgs) -> Result {
    let trust = trust.resolve(context)?;
    let (mut archive, bytes) = open(file, &trust)?;
    let bar = bar(context, archive.manifest().totals().bytes);
    for chunk in archive.by_ref() {
        let chunk = chunk.map_err(|error| unreadable(file, &error))?;
        bar.inc(chunk.chunk.subtree().totals().bytes);
    }
    bar.finish_and_clear();
    let report = Report::of(file, archive.manifest(), bytes);
    context
        .out
        .result(&report, || report.text("yes: certificate and chunks hold"));
    Ok(())
}

/// Puts an archive into the folder of a node that does not run; it starts from it.
///
/// # Errors
/// Exit code 4 if the archive has a fault: then the folder is as it was.
pub fn import(
    context: &Context,
    file: &str,
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
    let trust = trust.map_or_else(|| Trust::Genesis(Box::new(genesis)), Trust::Block);
    let (archive, bytes) = open(file, &trust)?;
    if archive.manifest().header().chain != chain {
        let message = format!(
            "{file} is of chain {}, the node in {} of chain {chain}",
            archive.manifest().header().chain,
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
    let manifest = archive.manifest().clone();
    let bar = bar(context, manifest.totals().bytes);
    let imported = put(&store, archive, file, &bar);
    bar.finish_and_clear();
    if imported.is_err() {
        // Gives the space back; a later start would do it too.
        let _ = store.sweep();
    }
    imported?;
    let report = Report::of(file, &manifest, bytes);
    let done = format!("yes; {} starts from it", dir.path().display());
    context.out.result(&report, || report.text(&done));
    Ok(())
}

fn put(store: &Store, mut archive: Archive<File>, file: &str, bar: &ProgressBar) -> Result {
    let manifest = archive.manifest().clone();
    let _pin = store.pin(manifest.chunk_ids());
    for chunk in archive.by_ref() {
        let chunk = chunk.map_err(|error| unreadable(file, &error))?;
        let subtree = chunk.chunk.subtree();
        store
            .put_chunk(manifest.id(), subtree, &chunk.bytes)
            .map_err(|e| of_store(&e))?;
        bar.inc(subtree.totals().bytes);
    }
    store.put_manifest(&manifest).map_err(|e| of_store(&e))
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

fn open(file: &str, trust: &Trust) -> Result<(Archive<File>, u64)> {
    let opened = open_file(file)?;
    let bytes = opened.metadata().map(|m| m.len()).unwrap_or_default();
    let archive = UnverifiedArchive::open(opened)
        .and_then(|archive| archive.verify_by(|claimed| trust.verify(claimed)))
        .map_err(|error| unreadable(file, &error))?;
    Ok((archive, bytes))
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
