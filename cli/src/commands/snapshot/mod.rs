//! `tintype snapshot`: the snapshots on a node's disk, in files, and in object stores.

mod archive;
#[cfg_attr(not(feature = "s3"), path = "no_bucket.rs")]
mod bucket;
mod diff;
mod draft;
mod location;
mod objects;
mod source;
mod trust;

use crate::{
    api,
    client::Client,
    context::Context,
    failure::{Exit, Failure, Result},
    table::{fields, grouped, or_dash, short, table},
    testnet::Testnet,
};
use ::node::config::NodeDir;
use clap::Subcommand;
use ledger::{
    hash::{Hash, StateRoot},
    light::{Checkpoint, LightError},
    units::Height,
};
use serde::Serialize;
use snapshot::{
    chunk::ChunkId,
    manifest::{ChunkRef, ManifestError, UntrustedManifest},
};
use std::time::Duration;
use trust::TrustArgs;

/// How long taking a snapshot may last.
const TAKE_LIMIT: Duration = Duration::from_secs(300);

/// How an object store is named.
const OF_S3: &str = "\
s3://BUCKET/PREFIX is a folder in an object store, and the newest snapshot there; s3://BUCKET/PREFIX@HEIGHT the one of that
height. The server and the credentials are those of AWS_ENDPOINT, AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY;
AWS_ALLOW_HTTP=true allows one that is not encrypted. It takes a program built with `cargo build --release --features s3`.";

/// `tintype snapshot ...`
#[derive(Debug, Subcommand)]
pub enum SnapshotCommand {
    /// List the snapshots of a node, newest first
    List,
    /// Show a snapshot with its chunks
    Show {
        /// Its height
        height: u64,
    },
    /// Take a snapshot of the newest state now
    Take,
    /// Write a node's snapshot into a file or an object store, verified
    #[command(after_help = OF_S3)]
    Export {
        /// Its height
        height: u64,
        /// The file, or s3://BUCKET/PREFIX, where only what is missing is uploaded
        #[arg(value_name = "FILE|URL")]
        to: String,
        /// Replace the file if it is there; upload what is there too
        #[arg(long)]
        force: bool,
        /// What to believe it by.
        #[command(flatten)]
        trust: TrustArgs,
    },
    /// Let a node that does not run start from the snapshot in a file or an object store
    #[command(after_help = OF_S3)]
    Import {
        /// The file, or s3://BUCKET/PREFIX, with @HEIGHT for another than the newest
        #[arg(value_name = "FILE|URL")]
        from: String,
        /// The node's name or folder [default: the folder that --dir names]
        into: Option<String>,
        /// Believe the snapshot if it is of this block, whoever its validators are
        #[arg(long, value_name = "HEIGHT:HASH")]
        trust: Option<Checkpoint>,
    },
    /// Check the snapshot in a file or an object store from its first byte to its last; no node is needed
    #[command(after_help = OF_S3)]
    Verify {
        /// The file, or s3://BUCKET/PREFIX, with @HEIGHT for another than the newest
        #[arg(value_name = "FILE|URL")]
        from: String,
        /// What to believe it by.
        #[command(flatten)]
        trust: TrustArgs,
    },
    /// Show which entries two snapshots differ in
    #[command(after_help = OF_S3)]
    Diff {
        /// The older one: a height on a node, a file, or s3://BUCKET/PREFIX, with @HEIGHT for another than the newest
        left: String,
        /// The newer one
        right: String,
        /// What to believe it by.
        #[command(flatten)]
        trust: TrustArgs,
    },
}

/// Does what was typed.
///
/// # Errors
/// If the node does not answer or has no such snapshot.
pub fn run(context: &Context, command: &SnapshotCommand) -> Result {
    match command {
        SnapshotCommand::Export {
            height,
            to,
            force,
            trust,
        } => archive::export(context, *height, to, *force, trust),
        SnapshotCommand::Import { from, into, trust } => {
            archive::import(context, from, into.as_deref(), *trust)
        }
        SnapshotCommand::Verify { from, trust } => archive::verify(context, from, trust),
        SnapshotCommand::Diff { left, right, trust } => diff::run(context, left, right, trust),
        SnapshotCommand::List | SnapshotCommand::Show { .. } | SnapshotCommand::Take => {
            on_node(context, command)
        }
    }
}

/// What is asked of a node.
fn on_node(context: &Context, command: &SnapshotCommand) -> Result {
    let client = context.client()?;
    match command {
        SnapshotCommand::List => {
            let list: api::Snapshots = client.get("/v1/snapshots")?;
            context.out.result(&list, || list_text(&list));
        }
        SnapshotCommand::Show { height } => {
            let answer: api::SnapshotDetail = client.get(&format!("/v1/snapshots/{height}"))?;
            let shown = Shown::of(context, &client, &answer)?;
            context.out.result(&shown, || shown.text());
        }
        SnapshotCommand::Take => {
            let nothing = serde_json::json!({});
            // A node that is named by its address may be the one whose folder was named.
            let token = NodeDir::new(&context.dir).token();
            let client = match token.filter(|_| context.dir_given) {
                Some(token) => client.with_token(Some(token)),
                None => client,
            };
            let taken: api::Snapshot = client.post("/v1/snapshots", &nothing, TAKE_LIMIT)?;
            context.out.result(&taken, || text(&taken));
        }
        _ => {}
    }
    Ok(())
}

/// A snapshot with its chunks.
#[derive(Serialize)]
struct Shown {
    height: Height,
    root: StateRoot,
    manifest: Hash,
    entries: u64,
    chunks: Vec<Chunk>,
    bytes: u64,
    new_bytes: u64,
    /// Whether a certificate that follows from the genesis here covers the root, and the chunks fold up to it.
    verified: bool,
}

/// A chunk, as the manifest lists it.
#[derive(Serialize)]
struct Chunk {
    hash: Hash,
    /// None if the manifest could not be verified.
    entries: Option<u64>,
    bytes: Option<u64>,
}

impl Shown {
    /// From a node's answer, whose manifest is verified against the genesis in the testnet's folder, if there is one.
    fn of(context: &Context, client: &Client, answer: &api::SnapshotDetail) -> Result<Self> {
        let falsehood = |why: &dyn std::fmt::Display| {
            let message = format!("the manifest of {} does not verify: {why}", client.name());
            Failure::new(Exit::Disagreement, "verification_failed", message)
                .help("ask another node; `tintype verify roots` shows whether they agree")
        };
        let bytes = hex::decode(&answer.manifest_hex).map_err(|e| falsehood(&e))?;
        let claimed = UntrustedManifest::decode(&bytes).map_err(|e| falsehood(&e))?;
        let manifest = claimed.id().0;
        let unproven = |id: ChunkId| Chunk {
            hash: id.0,
            entries: None,
            bytes: None,
        };
        let mut chunks: Vec<Chunk> = claimed.chunk_ids().map(unproven).collect();
        let mut verified = false;
        if let Ok(genesis) = Testnet::at(&context.dir).genesis() {
            let trusted = genesis.validator_set().map_err(|e| falsehood(&e))?;
            match claimed.verify(&genesis.chain_id(), &trusted) {
                Ok(proven) => {
                    let root = proven.certified().header.state_root;
                    if root != answer.snapshot.root {
                        return Err(falsehood(&format!("it is of the root {root}")));
                    }
                    verified = true;
                    chunks = proven.chunks().iter().map(Chunk::of).collect();
                }
                // The validators have changed too much since the genesis: no lie, and no proof.
                Err(ManifestError::Light(LightError::TooFar { .. })) => {}
                Err(error) => return Err(falsehood(&error)),
            }
        }
        let api::Snapshot {
            height,
            root,
            entries,
            bytes,
            new_bytes,
            ..
        } = answer.snapshot.clone();
        Ok(Self {
            height,
            root,
            manifest,
            entries,
            chunks,
            bytes,
            new_bytes,
            verified,
        })
    }

    fn text(&self) -> String {
        let figure = |known: Option<u64>| or_dash(known.map(grouped));
        let row = |c: &Chunk| vec![c.hash.to_string(), figure(c.entries), figure(c.bytes)];
        let rows: Vec<Vec<String>> = self.chunks.iter().map(row).collect();
        let verified = if self.verified {
            "yes: certificate and chunks hold"
        } else {
            "no: nothing here to check it against"
        };
        let head = fields(&[
            ("height", grouped(self.height.0)),
            ("root", self.root.to_string()),
            ("manifest", self.manifest.to_string()),
            ("entries", grouped(self.entries)),
            ("chunks", grouped(self.chunks.len() as u64)),
            ("bytes", grouped(self.bytes)),
            ("new bytes", grouped(self.new_bytes)),
            ("verified", verified.into()),
        ]);
        format!("{head}{}", table(&["CHUNK", "ENTRIES", "BYTES"], &rows))
    }
}

impl Chunk {
    fn of(listed: &ChunkRef) -> Self {
        Self {
            hash: listed.hash,
            entries: Some(listed.entries),
            bytes: Some(listed.bytes),
        }
    }
}

fn list_text(list: &api::Snapshots) -> String {
    if list.snapshots.is_empty() {
        return "no snapshots yet".into();
    }
    let rows: Vec<Vec<String>> = list
        .snapshots
        .iter()
        .map(|s| {
            let counts = [s.entries, s.chunks, s.bytes, s.new_bytes].map(grouped);
            let mut row = vec![grouped(s.height.0), short(&s.root)];
            row.extend(counts);
            row
        })
        .collect();
    table(
        &["HEIGHT", "ROOT", "ENTRIES", "CHUNKS", "BYTES", "NEW-BYTES"],
        &rows,
    )
}

fn text(snapshot: &api::Snapshot) -> String {
    fields(&[
        ("height", grouped(snapshot.height.0)),
        ("root", snapshot.root.to_string()),
        ("entries", grouped(snapshot.entries)),
        ("chunks", grouped(snapshot.chunks)),
        ("bytes", grouped(snapshot.bytes)),
        ("new bytes", grouped(snapshot.new_bytes)),
    ])
}
