//! The joiner itself: takes inputs apart, and lets its phase go on.

use super::{Config, Input, Lie, Output, Wanted, fetch::Fetch, peers::Peers, search::Search};
use crate::{
    chunk::ChunkId,
    manifest::{Manifest, ManifestId, Picture},
};
use std::{collections::BTreeSet, sync::Arc};

pub(super) enum Phase<P> {
    Search(Search),
    Fetch(Box<Fetch<P>>),
    Over,
}

/// Gets a state from peers. See the module's head. `P` names a peer.
pub struct Joiner<P> {
    pub(super) config: Config,
    pub(super) peers: Peers<P>,
    /// An older snapshot, whole in the store.
    pub(super) before: Option<Picture>,
    /// Chunks that the store has, by what it and we said.
    pub(super) stored: BTreeSet<ChunkId>,
    /// Manifests that a chunk refuted.
    pub(super) convicted: BTreeSet<ManifestId>,
    /// Releases that were held against somebody.
    pub(super) releases: u32,
    pub(super) phase: Phase<P>,
}

impl<P: Clone + Ord> Joiner<P> {
    /// A joiner that begins now. `stored` are the chunks in the store, which are read and verified rather than fetched;
    /// `resume` is the verified target of a sync that was cut short, which is gone on with if a peer still has it; `before` is
    /// an older snapshot that the store has whole.
    pub fn new(
        config: Config,
        now_ms: u64,
        stored: BTreeSet<ChunkId>,
        resume: Option<Arc<Manifest>>,
        before: Option<Picture>,
    ) -> Self {
        let resume = resume.filter(|m| m.height() >= config.height_min);
        Self {
            config,
            peers: Peers::default(),
            before,
            stored,
            convicted: BTreeSet::new(),
            releases: 0,
            phase: Phase::Search(Search::new(now_ms, resume)),
        }
    }

    /// The same, asking nothing of peers that have been proven liars before.
    #[must_use]
    pub fn shunning(mut self, liars: impl IntoIterator<Item = P>) -> Self {
        for liar in liars {
            self.peers.ban(&liar);
        }
        self
    }

    /// Whether it is done or has given up.
    pub const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// The frozen target, while there is one.
    pub fn target(&self) -> Option<&Arc<Manifest>> {
        match &self.phase {
            Phase::Fetch(fetch) => Some(&fetch.manifest),
            _ => None,
        }
    }

    /// Takes an input, and says what is to be done. `now_ms` never goes back.
    pub fn handle(&mut self, now_ms: u64, input: Input<P>) -> Vec<Output<P>> {
        let mut out = Vec::new();
        if self.is_over() {
            return out;
        }
        let ticked = matches!(input, Input::Tick);
        self.take(now_ms, input, &mut out);
        self.go_on_searching(now_ms, &mut out);
        self.go_on_fetching(now_ms, &mut out);
        if ticked {
            self.tell_progress(&mut out);
        }
        out
    }

    fn take(&mut self, now_ms: u64, input: Input<P>, out: &mut Vec<Output<P>>) {
        match input {
            Input::Offers { peer, offers } => {
                self.peers.offer(&peer, offers, self.config.height_min);
            }
            Input::Manifest { peer, id, bytes } => {
                if self.peers.answered(&peer, Wanted::Manifest(id)) {
                    self.on_manifest(&peer, id, &bytes, out);
                }
            }
            Input::Chunk {
                peer,
                id,
                bytes,
                verified,
            } => {
                if self.peers.answered(&peer, Wanted::Chunk(id)) {
                    self.on_chunk(&peer, id, bytes, verified, now_ms, out);
                }
            }
            Input::NotHere { peer, wanted } => {
                if !self.peers.answered(&peer, wanted) {
                    return;
                }
                match wanted {
                    Wanted::Manifest(id) => self.peers.refuse(&peer, id),
                    Wanted::Chunk(id) => self.on_chunk_not_here(&peer, id),
                }
            }
            Input::Failed { peer, wanted } => {
                if self.peers.answered(&peer, wanted) {
                    self.peers.failed(&peer, now_ms);
                    self.ask_again([wanted]);
                }
            }
            Input::Gone { peer } => {
                let owed = self.peers.remove(&peer);
                self.ask_again(owed);
            }
            Input::Stored { id, chunk } => self.on_stored(id, chunk, now_ms, out),
            Input::Tick => {
                let late = self.peers.pass_time(now_ms, &self.config);
                self.ask_again(late);
            }
        }
    }

    pub(super) fn ban(&mut self, peer: &P, lie: Lie, out: &mut Vec<Output<P>>) {
        let owed = self.peers.ban(peer);
        self.ask_again(owed);
        out.push(Output::Ban {
            peer: peer.clone(),
            lie,
        });
    }
}
