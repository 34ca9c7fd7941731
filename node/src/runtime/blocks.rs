//! Where transactions are: the index from ids to blocks, derived from the log and rebuilt at each start.

use crate::handle::{Committed, NotHere};
use ledger::{
    block::Block,
    hash::{BlockHash, StateRoot, TxId},
    state::{Outcome, State},
    units::Height,
};
use std::collections::BTreeMap;

/// Hex digits of the shortest prefix that names something.
const PREFIX_DIGITS_MIN: usize = 8;

/// What the index keeps of a block.
pub(super) struct Indexed {
    height: Height,
    hash: BlockHash,
    root: StateRoot,
    outcomes: Vec<(TxId, Outcome)>,
}

impl Indexed {
    pub(super) fn of(block: &Block, state: &State, outcomes: &[(TxId, Outcome)]) -> Self {
        Self {
            height: block.header.height,
            hash: block.hash(),
            root: state.root(),
            outcomes: outcomes.to_vec(),
        }
    }
}

/// The index.
#[derive(Default)]
pub(super) struct TransactionIndex {
    transactions: BTreeMap<TxId, (Height, u32, Outcome)>,
    blocks: BTreeMap<Height, (BlockHash, StateRoot)>,
    heights: BTreeMap<BlockHash, Height>,
}

impl TransactionIndex {
    pub(super) fn add(&mut self, block: Indexed) {
        self.blocks.insert(block.height, (block.hash, block.root));
        self.heights.insert(block.hash, block.height);
        for (i, (id, outcome)) in (0u32..).zip(block.outcomes) {
            self.transactions.insert(id, (block.height, i, outcome));
        }
    }

    pub(super) fn committed(&self, id: &TxId) -> Option<Committed> {
        let (height, index, outcome) = *self.transactions.get(id)?;
        let (block, state_root) = *self.blocks.get(&height)?;
        Some(Committed {
            height,
            block,
            state_root,
            index,
            outcome,
        })
    }

    pub(super) fn root(&self, height: Height) -> Option<StateRoot> {
        self.blocks.get(&height).map(|(_, root)| *root)
    }

    pub(super) fn transaction_id(&self, prefix: &str) -> Result<TxId, NotHere> {
        by_prefix(prefix, |from| {
            self.transactions
                .range(TxId(from)..)
                .map(|(id, _)| (id.0, *id))
                .take(2)
                .collect()
        })
    }

    pub(super) fn block_height(&self, prefix: &str) -> Result<Height, NotHere> {
        by_prefix(prefix, |from| {
            self.heights
                .range(BlockHash(from)..)
                .map(|(h, height)| (h.0, *height))
                .take(2)
                .collect()
        })
    }
}

/// The one thing whose hash begins with the digits, given the first two from a hash on.
fn by_prefix<T: Copy>(
    prefix: &str,
    from: impl Fn([u8; 32]) -> Vec<([u8; 32], T)>,
) -> Result<T, NotHere> {
    let prefix = prefix.to_ascii_lowercase();
    let unknown = || NotHere::Unknown(prefix.clone());
    if prefix.len() < PREFIX_DIGITS_MIN || prefix.len() > 64 {
        return Err(unknown());
    }
    let padded = format!("{prefix:0<64}");
    let start: ledger::hash::Hash = padded.parse().map_err(|_| unknown())?;
    let begins = |bytes: &[u8; 32]| hex::encode(bytes).starts_with(&prefix);
    let mut found = from(start.0).into_iter().filter(|(hash, _)| begins(hash));
    match (found.next(), found.next()) {
        (Some((_, one)), None) => Ok(one),
        (Some(_), Some(_)) => Err(NotHere::Ambiguous(prefix)),
        (None, _) => Err(unknown()),
    }
}
