//! The newest pictures of the chain: the states of the last heights and what came with their blocks.

use super::{super::readers::Readers, Disputed};
use crate::{handle::Refusal, replica::Committed};
use ledger::{
    block::CertifiedHeader,
    hash::{StateRoot, TxId},
    state::State,
    units::Height,
};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

/// States that are kept in memory, for queries of recent heights.
const STATES_KEPT: usize = 64;

/// What a node publishes of the newest blocks.
pub(in crate::runtime) struct Pictures {
    pub(in crate::runtime) states: VecDeque<State>,
    pub(in crate::runtime) head: Option<CertifiedHeader>,
    /// The head that this node started from: after a snapshot the log has no block of it.
    pub(in crate::runtime) began_after: Option<CertifiedHeader>,
    pub(in crate::runtime) last_block_transactions: u64,
    /// When this node last saw a block become final, or was started.
    pub(super) committed_at: Instant,
    pub(super) bodies: VecDeque<Arc<Committed>>,
    pub(in crate::runtime) dropped: HashMap<TxId, Refusal>,
    pub(super) dropped_order: VecDeque<TxId>,
    /// Transactions that came through this node and wait.
    pub(in crate::runtime) pending: HashMap<TxId, ()>,
    pub(in crate::runtime) alarm: Option<String>,
    /// The roots of the states that are kept, and of the one this node began with.
    pub(in crate::runtime) roots: BTreeMap<Height, StateRoot>,
    pub(super) disputed: Option<Disputed>,
    readers: Readers<State>,
}

impl Pictures {
    /// Those of a node that begins with a state and its block, or without.
    pub(super) fn new(state: Option<State>, head: Option<CertifiedHeader>) -> Self {
        Self {
            roots: state.iter().map(|s| (s.height(), s.root())).collect(),
            states: state.into_iter().collect(),
            began_after: head.clone(),
            head,
            last_block_transactions: 0,
            committed_at: Instant::now(),
            bodies: VecDeque::new(),
            dropped: HashMap::new(),
            dropped_order: VecDeque::new(),
            pending: HashMap::new(),
            alarm: None,
            disputed: None,
            readers: Readers::default(),
        }
    }

    /// Adds the newest state. Gives back those that are kept no more.
    pub(super) fn push(&mut self, state: State, now: Instant) -> Vec<State> {
        self.roots.insert(state.height(), state.root());
        self.states.push_back(state);
        let mut old = self.readers.let_go(now);
        if self.states.len() > STATES_KEPT
            && let Some(oldest) = self.states.pop_front()
        {
            old.extend(self.readers.keep(oldest.height(), oldest, now));
        }
        for state in &old {
            self.roots.remove(&state.height());
        }
        old
    }

    /// The state of a height, if it is kept.
    pub(in crate::runtime) fn state(&self, height: Height) -> Option<&State> {
        let recent = self.states.iter().find(|state| state.height() == height);
        recent.or_else(|| self.readers.get(height))
    }

    /// Somebody has read a page of the state of this height and will ask for more.
    pub(in crate::runtime) fn reads_on(&mut self, height: Height, now: Instant) {
        if self.state(height).is_some() {
            self.readers.read(height, now);
        }
    }

    /// Keeps what this node came to where the chain has another state.
    pub(in crate::runtime) fn gone_astray(&mut self, state: State) {
        self.roots.insert(state.height(), state.root());
        self.disputed = Some(Disputed::own(state));
    }

    /// The state that somebody has another of.
    pub(in crate::runtime) fn disputed(&self) -> Option<&State> {
        self.disputed.as_ref().map(Disputed::state)
    }
}
