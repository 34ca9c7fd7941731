//! The fetch: which chunk from whom.

use super::{
    ASKS_MAX, GaveUp, Lie, Output, Progress, READS_MAX, RELEASES_MAX, REMEMBERED_MAX, Wanted,
    WantedChunk,
    joiner::{Joiner, Phase},
    search::Search,
};
use crate::{
    chunk::{ChunkError, ChunkId, VerifiedChunk},
    manifest::{ChunkRef, Manifest, Picture},
    scope::totals,
};
use ledger::state::tree::{Subtree, Totals, Tree};
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

pub(super) struct Fetch<P> {
    pub manifest: Arc<Manifest>,
    /// All who have offered it meanwhile, also if they are gone.
    offered_by: BTreeSet<P>,
    since_ms: u64,
    last_chunk_ms: u64,
    /// When the rate was measured last, and what had been fetched then.
    measured: (u64, u64),
    /// Of the chunks that are wanted; others may yet be owed for an earlier target.
    indices: HashMap<ChunkId, usize>,
    /// The chunks that are verified, in the manifest's order.
    subtrees: Vec<Option<Subtree>>,
    /// How many are wanted, and what they hold.
    chunks_total: u64,
    total: Totals,
    chunks_done: u64,
    done: Totals,
    fetched_bytes: u64,
    /// To be read from the store.
    stored: VecDeque<usize>,
    reads: usize,
    /// To be asked for. May name a chunk twice, or one that has come meanwhile.
    missing: VecDeque<usize>,
    told: Option<Progress>,
}

fn bytes_per_second(bytes: u64, elapsed_ms: u64) -> u64 {
    bytes.saturating_mul(1_000) / elapsed_ms.max(1)
}

impl<P> Fetch<P> {
    fn chunk(&self, id: &ChunkId) -> Option<(usize, ChunkRef)> {
        let index = *self.indices.get(id)?;
        Some((index, *self.manifest.chunks().get(index)?))
    }

    fn is_done(&self, index: usize) -> bool {
        self.subtrees.get(index).is_none_or(Option::is_some)
    }

    fn put(&mut self, index: usize, subtree: Subtree, now_ms: u64) {
        if let Some(slot @ None) = self.subtrees.get_mut(index) {
            self.done.entries += subtree.totals().entries;
            self.done.bytes += subtree.totals().bytes;
            self.chunks_done += 1;
            self.last_chunk_ms = now_ms;
            *slot = Some(subtree);
        }
    }

    /// A chunk that has not come yet.
    fn lacking(&self, id: &ChunkId) -> Option<(usize, ChunkRef)> {
        self.chunk(id).filter(|(index, _)| !self.is_done(*index))
    }

    fn progress(&self, peers: u64) -> Progress {
        Progress {
            height: self.manifest.height(),
            chunks_done: self.chunks_done,
            chunks_total: self.chunks_total,
            done: self.done,
            total: self.total,
            peers,
        }
    }
}

impl<P: Clone + Ord> Joiner<P> {
    /// Freezes the target.
    pub(super) fn begin_fetch(
        &mut self,
        now_ms: u64,
        manifest: Arc<Manifest>,
        out: &mut Vec<Output<P>>,
    ) {
        let (mut shared, mut stored, mut missing) = (vec![], VecDeque::new(), VecDeque::new());
        let wanted = self.config.scope.chunks(&manifest);
        let mut indices = HashMap::new();
        for &index in &wanted {
            let Some(chunk) = manifest.chunks().get(index) else {
                continue;
            };
            indices.insert(chunk.id(), index);
            if !self.stored.contains(&chunk.id()) {
                missing.push_back(index);
            } else if let Some(unchanged) = self.unchanged(chunk) {
                shared.push((index, unchanged));
            } else {
                stored.push_back(index);
            }
        }
        let mut fetch = Fetch {
            offered_by: BTreeSet::new(),
            measured: (now_ms, 0),
            since_ms: now_ms,
            last_chunk_ms: now_ms,
            indices,
            subtrees: vec![None; manifest.chunks().len()],
            chunks_total: wanted.len() as u64,
            total: totals(&manifest, &wanted),
            chunks_done: 0,
            done: Totals::default(),
            fetched_bytes: 0,
            stored,
            reads: 0,
            missing,
            told: None,
            manifest: Arc::clone(&manifest),
        };
        for (index, unchanged) in shared {
            fetch.put(index, unchanged, now_ms);
        }
        self.peers.forget_not_here();
        self.phase = Phase::Fetch(Box::new(fetch));
        out.push(Output::Target(manifest));
    }

    /// A chunk that the older snapshot has just so.
    fn unchanged(&self, chunk: &ChunkRef) -> Option<Subtree> {
        let subtree = self.before.as_ref()?.tree.subtree(&chunk.prefix)?;
        (subtree.part() == chunk.part()).then_some(subtree)
    }

    /// A peer's answer to a request for a chunk.
    pub(super) fn on_chunk(
        &mut self,
        peer: &P,
        id: ChunkId,
        bytes: Vec<u8>,
        verified: Result<VerifiedChunk, ChunkError>,
        now_ms: u64,
        out: &mut Vec<Output<P>>,
    ) {
        let Phase::Fetch(fetch) = &mut self.phase else {
            return;
        };
        let Some((index, listed)) = fetch.lacking(&id) else {
            return;
        };
        match verified {
            Ok(chunk) if chunk.subtree().part() == listed.part() => {
                let subtree = chunk.subtree();
                fetch.fetched_bytes += subtree.totals().bytes;
                fetch.put(index, subtree.clone(), now_ms);
                self.stored.insert(id);
                self.peers.succeeded(peer);
                out.push(Output::Store { chunk, bytes });
            }
            Err(error) if refutes(&error, &listed) => self.convict(&error, now_ms, out),
            // Asked for by an earlier target, which listed it otherwise.
            Ok(_) | Err(ChunkError::NotAsListed { .. }) => fetch.missing.push_front(index),
            Err(ChunkError::Form(_)) => {
                // A newer program's: nothing that we can use, and no lie.
                self.on_chunk_not_here(peer, id);
            }
            Err(error) => {
                fetch.missing.push_front(index);
                self.ban(peer, Lie::Chunk { id, error }, out);
            }
        }
    }

    /// What the store gave for a chunk.
    pub(super) fn on_stored(
        &mut self,
        id: ChunkId,
        stored: Option<Result<VerifiedChunk, ChunkError>>,
        now_ms: u64,
        out: &mut Vec<Output<P>>,
    ) {
        let Phase::Fetch(fetch) = &mut self.phase else {
            return;
        };
        if fetch.chunk(&id).is_some() {
            fetch.reads = fetch.reads.saturating_sub(1);
        }
        let Some((index, chunk)) = fetch.lacking(&id) else {
            return;
        };
        match stored {
            // One that came late was wanted by another manifest.
            Some(Ok(verified)) if verified.subtree().part() == chunk.part() => {
                fetch.put(index, verified.into_subtree(), now_ms);
            }
            Some(Err(error)) if refutes(&error, &chunk) => self.convict(&error, now_ms, out),
            Some(Ok(_) | Err(_)) | None => {
                self.stored.remove(&id);
                fetch.missing.push_back(index);
            }
        }
    }

    pub(super) fn on_chunk_not_here(&mut self, peer: &P, id: ChunkId) {
        if let Phase::Fetch(fetch) = &mut self.phase
            && let Some((index, _)) = fetch.chunk(&id)
        {
            self.peers.not_here(peer, id, fetch.manifest.id());
            fetch.missing.push_back(index);
        }
    }

    /// Chunks that somebody owed and will not, or not in time, deliver.
    pub(super) fn ask_again(&mut self, wanted: impl IntoIterator<Item = Wanted>) {
        let Phase::Fetch(fetch) = &mut self.phase else {
            return;
        };
        for wanted in wanted {
            if let Wanted::Chunk(id) = wanted
                && let Some((index, _)) = fetch.chunk(&id)
            {
                fetch.missing.push_front(index);
            }
        }
    }

    /// The manifest is refuted: nobody who checked it before offering it, as everyone must, is honest.
    fn convict(&mut self, error: &ChunkError, now_ms: u64, out: &mut Vec<Output<P>>) {
        let Phase::Fetch(fetch) = &self.phase else {
            return;
        };
        let id = fetch.manifest.id();
        if self.convicted.len() >= REMEMBERED_MAX {
            self.convicted.pop_first();
        }
        self.convicted.insert(id);
        let liars: Vec<P> = self.peers.providers(&id).cloned().collect();
        for peer in liars {
            let error = error.clone();
            self.ban(&peer, Lie::Refuted { id, error }, out);
        }
        self.phase = Phase::Search(Search::new(now_ms, None));
    }

    /// Asks for what is missing, and ends the fetch when it can.
    pub(super) fn go_on_fetching(&mut self, now_ms: u64, out: &mut Vec<Output<P>>) {
        let Phase::Fetch(fetch) = &mut self.phase else {
            return;
        };
        if fetch.chunks_done == fetch.chunks_total {
            return self.finish(now_ms, out);
        }
        while fetch.reads < READS_MAX
            && let Some(index) = fetch.stored.pop_front()
        {
            if let Some(chunk) = fetch.manifest.chunks().get(index) {
                fetch.reads += 1;
                out.push(Output::Read { chunk: *chunk });
            }
        }
        let target = fetch.manifest.id();
        for peer in self.peers.providers(&target) {
            if fetch.offered_by.len() < REMEMBERED_MAX {
                fetch.offered_by.insert(peer.clone());
            }
        }
        if fetch.reads > 0 || !fetch.stored.is_empty() {
            // The disk is no peer's fault.
            fetch.measured = (now_ms, fetch.fetched_bytes);
        } else {
            let alone = self.peers.providers(&target).next().is_none();
            if (alone && self.waited_for_providers(now_ms)) || self.is_held_up(now_ms) {
                return self.release(now_ms, out);
            }
        }
        self.ask_missing(now_ms, out);
        self.hedge(now_ms, out);
    }

    /// Whether nothing has come for long, or so little that the rest would take too long.
    fn is_held_up(&mut self, now_ms: u64) -> bool {
        let Phase::Fetch(fetch) = &mut self.phase else {
            return false;
        };
        if now_ms.saturating_sub(fetch.last_chunk_ms) >= self.config.stall_ms {
            return true;
        }
        let (since_ms, before) = fetch.measured;
        let elapsed_ms = now_ms.saturating_sub(since_ms);
        if elapsed_ms < self.config.stall_ms {
            return false;
        }
        fetch.measured = (now_ms, fetch.fetched_bytes);
        let rate = bytes_per_second(fetch.fetched_bytes.saturating_sub(before), elapsed_ms);
        let left = fetch.total.bytes.saturating_sub(fetch.done.bytes);
        let left_ms = left.saturating_mul(1_000) / rate.max(1);
        let left_ms_max = match self.peers.has_other_than(&fetch.manifest.id()) {
            true => self.config.left_ms_max_if_other,
            false => self.config.left_ms_max,
        };
        rate < self.config.bytes_per_second_min && left_ms > left_ms_max
    }

    /// Lets the target go, and holds that against those who offered it, unless most of the time it was fetched well.
    fn release(&mut self, now_ms: u64, out: &mut Vec<Output<P>>) {
        let search = Phase::Search(Search::new(now_ms, None));
        let Phase::Fetch(fetch) = std::mem::replace(&mut self.phase, search) else {
            return;
        };
        let elapsed_ms = now_ms.saturating_sub(fetch.since_ms);
        if bytes_per_second(fetch.fetched_bytes, elapsed_ms) >= self.config.bytes_per_second_min {
            return;
        }
        for peer in &fetch.offered_by {
            self.peers.strike(peer);
        }
        self.releases += 1;
        if self.releases >= RELEASES_MAX {
            let releases = self.releases;
            self.phase = Phase::Over;
            out.push(Output::GaveUp(GaveUp::Stalled { releases }));
        }
    }

    /// A reconnecting peer gets a moment before its target is released.
    fn waited_for_providers(&self, now_ms: u64) -> bool {
        let Phase::Fetch(fetch) = &self.phase else {
            return false;
        };
        now_ms.saturating_sub(fetch.last_chunk_ms) >= self.config.no_snapshot_ms
    }

    fn ask_missing(&mut self, now_ms: u64, out: &mut Vec<Output<P>>) {
        let Phase::Fetch(fetch) = &mut self.phase else {
            return;
        };
        let target = fetch.manifest.id();
        let mut under_way = self.peers.in_time().count();
        loop {
            // One each in turn, so that every provider gets its share.
            let mut asked = false;
            for peer in self.peers.free_providers(&target, now_ms) {
                if under_way >= ASKS_MAX {
                    return;
                }
                let Some(chunk) = next_for(fetch, &self.peers, &peer) else {
                    continue;
                };
                let chunk = wanted(fetch, self.before.as_ref(), chunk);
                self.peers.asked(&peer, Wanted::Chunk(chunk.id()), now_ms);
                out.push(Output::AskChunk { peer, chunk });
                under_way += 1;
                asked = true;
            }
            if !asked {
                return;
            }
        }
    }

    /// With nothing else to ask, asks a second peer for what takes long.
    fn hedge(&mut self, now_ms: u64, out: &mut Vec<Output<P>>) {
        let Phase::Fetch(fetch) = &mut self.phase else {
            return;
        };
        if !fetch.missing.is_empty() {
            return;
        }
        let target = fetch.manifest.id();
        let mut long: Vec<(u64, Wanted)> = self
            .peers
            .in_time()
            .filter(|a| now_ms.saturating_sub(a.since_ms) >= self.config.hedge_ms)
            .map(|a| (a.since_ms, a.wanted))
            .collect();
        long.sort();
        for (_, asked) in long {
            let Wanted::Chunk(id) = asked else { continue };
            let Some((_, chunk)) = fetch.chunk(&id) else {
                continue;
            };
            let once = self.peers.in_time().filter(|a| a.wanted == asked).count() == 1;
            if !once || self.peers.in_time().count() >= ASKS_MAX {
                continue;
            }
            let free = self.peers.free_providers(&target, now_ms);
            let Some(peer) = free.into_iter().find(|p| self.peers.may_have(p, id)) else {
                continue;
            };
            let chunk = wanted(fetch, self.before.as_ref(), chunk);
            self.peers.asked(&peer, asked, now_ms);
            out.push(Output::AskChunk { peer, chunk });
        }
    }

    /// Says how far it is, if that has changed.
    pub(super) fn tell_progress(&mut self, out: &mut Vec<Output<P>>) {
        let Phase::Fetch(fetch) = &mut self.phase else {
            return;
        };
        let peers = self.peers.providers(&fetch.manifest.id()).count() as u64;
        let progress = fetch.progress(peers);
        if fetch.told != Some(progress) {
            fetch.told = Some(progress);
            out.push(Output::Progress(progress));
        }
    }

    fn finish(&mut self, now_ms: u64, out: &mut Vec<Output<P>>) {
        self.tell_progress(out);
        let Phase::Fetch(fetch) = std::mem::replace(&mut self.phase, Phase::Over) else {
            return;
        };
        let Fetch {
            manifest,
            subtrees,
            chunks_total,
            ..
        } = *fetch;
        let subtrees: Vec<Subtree> = subtrees.into_iter().flatten().collect();
        debug_assert_eq!(subtrees.len() as u64, chunks_total);
        let whole = subtrees.len() == manifest.chunks().len();
        match Tree::join(&subtrees) {
            Ok(tree) if !whole || tree.root() == manifest.root() => {
                out.push(Output::Done { tree, manifest });
            }
            // Verified chunks of a verified manifest join to its root. Were that wrong, nothing must be adopted.
            _ => {
                debug_assert!(false, "verified chunks do not give the verified root");
                self.convicted.insert(manifest.id());
                self.phase = Phase::Search(Search::new(now_ms, None));
            }
        }
    }
}

/// Whether a chunk shows that a manifest lists it wrongly, if this is how it lists it.
fn refutes(error: &ChunkError, chunk: &ChunkRef) -> bool {
    matches!(error, ChunkError::NotAsListed { listed, .. } if **listed == chunk.part())
}

/// A chunk of the target with all that it takes to verify it.
fn wanted<P>(fetch: &Fetch<P>, before: Option<&Picture>, chunk: ChunkRef) -> WantedChunk {
    WantedChunk {
        manifest: Arc::clone(&fetch.manifest),
        base: before.and_then(|before| before.base_of(&chunk.prefix)),
        chunk,
    }
}

/// The next missing chunk that a peer may have.
fn next_for<P: Clone + Ord>(
    fetch: &mut Fetch<P>,
    peers: &super::peers::Peers<P>,
    peer: &P,
) -> Option<ChunkRef> {
    let mut at = 0;
    while let Some(&index) = fetch.missing.get(at) {
        let chunk = *fetch.manifest.chunks().get(index)?;
        let id = chunk.id();
        if fetch.is_done(index) || peers.is_in_time(Wanted::Chunk(id)) {
            // Here already, or asked of somebody who is in time: noted twice.
            fetch.missing.remove(at);
        } else if peers.may_have(peer, id) {
            fetch.missing.remove(at);
            return Some(chunk);
        } else {
            // At most NOT_HERE_MAX and the peer's own requests are passed over.
            at += 1;
        }
    }
    None
}
