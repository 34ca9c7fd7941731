//! A node that is made up: it answers what a test says.

mod server;

use super::Client;
use serde_json::{Value, json};

/// A node that answers the document that `answer` gives for a path, and 404 where that gives none.
pub fn node(name: &str, answer: impl Fn(&str) -> Option<Value> + Send + 'static) -> Client {
    let url = server::serve(move |path| match answer(path) {
        Some(answer) => (200, answer),
        None => {
            let error = json!({"code": "pruned", "message": "it is gone", "help": ""});
            (404, json!({"error": error}))
        }
    });
    Client::new(name, &url)
}

/// The status of a node that is at a height.
pub fn status(name: &str, height: u64, ready: bool, spaces: &[&str]) -> Value {
    let hash = "00".repeat(32);
    json!({
        "name": name, "version": "0", "public_key": hash, "chain_id": hash, "chain_name": "c",
        "validator": true, "voting": true, "ready": ready, "height": height, "block_hash": null,
        "block_time": null, "state_root": hash, "last_block_transactions": 0,
        "earliest_block": null, "peers": 0, "p2p": [], "mempool": 0, "snapshot": null,
        "sync": null, "alarm": null, "stands_still_seconds": null, "spaces": spaces,
    })
}
