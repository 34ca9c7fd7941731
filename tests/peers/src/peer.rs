//! `jmt` over a hash map in memory, which is what costs it least: nodes that a batch replaces are thrown away outside of the measurement.
//!
//! It wants keys that are hashes, and does not skip bits that all share: so it is given hashes of the keys, made beforehand.

use crate::report::{Rounds, size};
use crate::workload::{Random, Value, keys};
use jmt::storage::{LeafNode, Node, NodeKey, TreeReader, TreeUpdateBatch};
use jmt::{KeyHash, OwnedValue, Sha256Jmt, Version};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// Entries that are put at a time to fill it.
const FILL_BATCH: usize = 20_000;

type Update = (KeyHash, Option<OwnedValue>);

#[derive(Default)]
struct Store {
    nodes: HashMap<NodeKey, Node>,
    values: HashMap<KeyHash, OwnedValue>,
    version: Version,
}

impl TreeReader for Store {
    fn get_node_option(&self, key: &NodeKey) -> anyhow::Result<Option<Node>> {
        Ok(self.nodes.get(key).cloned())
    }

    fn get_value_option(&self, _: Version, key: KeyHash) -> anyhow::Result<Option<OwnedValue>> {
        Ok(self.values.get(&key).cloned())
    }

    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        anyhow::bail!("only for restoring")
    }
}

impl Store {
    /// A batch to a new root, and what it leaves behind.
    fn apply(&mut self, updates: Vec<Update>) -> TreeUpdateBatch {
        let result = Sha256Jmt::new(&*self).put_value_set(updates, self.version);
        let (root, mut batch) = result.unwrap_or_else(|error| panic!("{error}"));
        std::hint::black_box(root);
        self.version += 1;
        let written = std::mem::take(&mut batch.node_batch);
        for (key, node) in written.nodes() {
            self.nodes.insert(key.clone(), node.clone());
        }
        for ((_, key), value) in written.values() {
            self.values.extend(value.clone().map(|value| (*key, value)));
        }
        batch
    }

    fn throw_away(&mut self, batch: &TreeUpdateBatch) {
        for stale in &batch.stale_node_index_batch {
            self.nodes.remove(&stale.node_key);
        }
    }
}

fn update((key, value): ([u8; 32], Value)) -> Update {
    let key = KeyHash(Sha256::digest(key).into());
    (key, Some(value.to_vec()))
}

/// Updates a second, on a tree of so many entries.
pub fn apply(entries: u64) -> f64 {
    let (batch, batches) = (size("BATCH", 10_000), size("PEER_BATCHES", 6));
    let mut store = Store::default();
    for keys in keys(entries).chunks(FILL_BATCH) {
        let updates = keys.iter().map(|key| update((*key, [1; 48])));
        let left = store.apply(updates.collect());
        store.throw_away(&left);
    }
    let mut random = Random(12345);
    let mut rounds = Rounds::default();
    for _ in 0..batches {
        let updates = random.updates(batch as usize, entries);
        let updates: Vec<_> = updates.into_iter().map(update).collect();
        let left = rounds.measure(|| store.apply(updates));
        store.throw_away(&left);
    }
    rounds.report("jmt", entries, "held", ("updates", batch))
}
