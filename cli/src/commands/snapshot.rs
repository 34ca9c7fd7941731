//! `tintype snapshot`: the snapshots on a node's disk.

use crate::{
    api,
    context::Context,
    failure::{Failure, Result},
    table::{fields, grouped, short, table},
};
use clap::Subcommand;
use serde_json::Value;
use std::time::Duration;

/// How long taking a snapshot may last.
const TAKE_LIMIT: Duration = Duration::from_secs(300);

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
}

/// Does what was typed.
///
/// # Errors
/// If the node does not answer or has no such snapshot.
pub fn run(context: &Context, command: &SnapshotCommand) -> Result {
    let client = context.client()?;
    match command {
        SnapshotCommand::List => {
            let list: api::Snapshots = client.get("/v1/snapshots")?;
            context.out.result(&list, || list_text(&list));
        }
        SnapshotCommand::Show { height } => {
            // The document is passed on whole: what a manifest says of its chunks is the node's to write.
            let document: Value = client.get(&format!("/v1/snapshots/{height}"))?;
            let shown: api::Snapshot = serde_json::from_value(document.clone())
                .map_err(|e| Failure::failed("bad_answer", e.to_string()))?;
            context.out.result(&document, || text(&shown));
        }
        SnapshotCommand::Take => {
            let nothing = serde_json::json!({});
            let taken: api::Snapshot = client.post("/v1/snapshots", &nothing, TAKE_LIMIT)?;
            context.out.result(&taken, || text(&taken));
        }
    }
    Ok(())
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
