//! One sync, from its seed: what arrives when, and what the joiner makes of it.

use super::{
    world::{Kind, World},
    *,
};
use crate::{
    chunk::patch,
    fixtures::{CHAIN, Random, set},
    manifest::Picture,
};
use Kind::*;
use std::collections::{BTreeMap, BTreeSet};

const TICK_MS: u64 = 200;
const END_MS: u64 = 600_000;
/// How often peers that move on have a newer snapshot.
const MOVE_EVERY_MS: u64 = TICK_MS;

fn config() -> Config {
    Config {
        snapshot_interval: 100,
        ..Config::new(CHAIN, set(), Height(1))
    }
}

#[derive(Debug, PartialEq)]
pub(super) enum End {
    Done(Height),
    GaveUp(GaveUp),
    Never,
}

pub(super) struct Run<'a> {
    pub(super) world: &'a World,
    pub(super) random: Random,
    pub(super) kinds: Vec<Kind>,
    pub(super) joiner: Joiner<u32>,
    pub(super) now_ms: u64,
    /// What arrives when; the number keeps the order of what arrives together.
    pub(super) under_way: BTreeMap<(u64, u64), Input<u32>>,
    pub(super) sent: u64,
    pub(super) store: BTreeMap<ChunkId, Vec<u8>>,
    before: Option<Picture>,
    pub(super) target: Option<Arc<Manifest>>,
    /// All that it ever went for.
    pub(super) targets: Vec<Height>,
    /// Whether peers take newer snapshots and drop older ones meanwhile, all but the one they were last asked for.
    moves_on: bool,
    held: BTreeMap<u32, ManifestId>,
    pub(super) banned: BTreeSet<u32>,
    pub(super) gone: BTreeSet<u32>,
    /// When each dripper's last chunk arrives.
    pub(super) dripped_ms: BTreeMap<u32, u64>,
    pub(super) fetched: u64,
    pub(super) fetched_bytes: usize,
    pub(super) end: End,
}

impl<'a> Run<'a> {
    pub(super) fn new(world: &'a World, seed: u64, kinds: Vec<Kind>) -> Self {
        let config = config();
        let mut run = Self {
            world,
            random: Random::new(seed + 1),
            kinds,
            joiner: Joiner::new(config, 0, BTreeSet::new(), None, None),
            before: None,
            now_ms: 0,
            under_way: BTreeMap::new(),
            sent: 0,
            store: BTreeMap::new(),
            target: None,
            targets: Vec::new(),
            moves_on: false,
            held: BTreeMap::new(),
            banned: BTreeSet::new(),
            gone: BTreeSet::new(),
            dripped_ms: BTreeMap::new(),
            fetched: 0,
            fetched_bytes: 0,
            end: End::Never,
        };
        run.greet();
        run
    }

    /// Of a node that has an older snapshot.
    pub(super) fn with_older(mut self) -> Self {
        let before = self.world.before.clone();
        for id in before.manifest.chunk_ids() {
            self.store.insert(id, self.world.chunks[&id].clone());
        }
        let stored = self.store.keys().copied().collect();
        self.before = Some(before);
        self.joiner = Joiner::new(config(), 0, stored, None, self.before.clone());
        self
    }

    /// Among peers whose chain goes on.
    pub(super) fn moving_on(mut self) -> Self {
        self.moves_on = true;
        self
    }

    fn offers(&self, peer: u32) -> Vec<Offer> {
        if self.moves_on {
            let held = self.held.get(&peer).copied();
            return self.world.newest(self.now_ms / MOVE_EVERY_MS, held);
        }
        self.world.offers(self.kinds[peer as usize])
    }

    /// The newest snapshot that peers who move on have by now.
    pub(super) fn newest(&self) -> Height {
        let newest = self.world.newest(self.now_ms / MOVE_EVERY_MS, None);
        newest.last().unwrap().height
    }

    fn greet(&mut self) {
        for peer in 0..self.kinds.len() as u32 {
            let offers = self.offers(peer);
            let delay_ms = self.random.below(1_000);
            if !self.gone.contains(&peer) {
                self.later(delay_ms, Input::Offers { peer, offers });
            }
        }
    }

    fn later(&mut self, delay_ms: u64, input: Input<u32>) {
        self.sent += 1;
        let at = (self.now_ms + delay_ms, self.sent);
        self.under_way.insert(at, input);
    }

    /// The joiner's process dies and starts again: only what is stored is left.
    fn restart(&mut self) {
        self.under_way.clear();
        let config = config();
        if self.random.chance(30)
            && let Some(bytes) = self.store.values_mut().next()
        {
            bytes[0] ^= 1;
        }
        let stored = self.store.keys().copied().collect();
        let resume = self.target.clone().filter(|_| self.random.chance(70));
        self.joiner = Joiner::new(config, self.now_ms, stored, resume, self.before.clone());
        self.banned.clear();
        self.greet();
    }

    pub(super) fn go(mut self, restarts: bool) -> Self {
        let mut next_tick_ms = 0;
        while self.end == End::Never && self.now_ms < END_MS {
            let arrives = self.under_way.keys().next().copied();
            let input = match arrives {
                Some(key) if key.0 <= next_tick_ms => {
                    self.now_ms = key.0;
                    self.under_way.remove(&key).unwrap()
                }
                _ => {
                    self.now_ms = next_tick_ms;
                    next_tick_ms += TICK_MS;
                    if self.moves_on && self.now_ms.is_multiple_of(MOVE_EVERY_MS) {
                        self.greet();
                    }
                    Input::Tick
                }
            };
            if let Input::Gone { peer } = input {
                self.gone.insert(peer);
            }
            let outputs = self.joiner.handle(self.now_ms, input);
            for output in outputs {
                self.carry_out(output);
            }
            if restarts && self.end == End::Never && self.random.below(150) == 0 {
                self.restart();
            }
        }
        self
    }

    /// As the store does it.
    fn verify(
        &self,
        target: &Manifest,
        chunk: &ChunkRef,
        bytes: &[u8],
    ) -> Result<VerifiedChunk, ChunkError> {
        let before = self.before.as_ref();
        match patch::base_of(bytes).and_then(|_| before?.base_of(&chunk.prefix)) {
            Some((_, base)) => target.verify_patch(chunk, &base, bytes),
            None => target.verify_chunk(chunk, bytes),
        }
    }

    fn carry_out(&mut self, output: Output<u32>) {
        match output {
            Output::AskManifest { peer, id } => self.ask(peer, Wanted::Manifest(id), None),
            Output::AskChunk { peer, chunk } => {
                self.ask(peer, Wanted::Chunk(chunk.id()), Some(chunk));
            }
            Output::Read { chunk } => {
                let (id, target) = (chunk.id(), self.target.as_ref().unwrap());
                let stored = self.store.get(&id);
                let chunk = stored.map(|bytes| self.verify(target, &chunk, bytes));
                self.later(1, Input::Stored { id, chunk });
            }
            Output::Store { chunk, bytes } => {
                self.fetched += 1;
                self.fetched_bytes += bytes.len();
                self.store.insert(chunk.id(), bytes);
            }
            Output::Target(manifest) => {
                self.targets.push(manifest.height());
                self.target = Some(manifest);
            }
            Output::Ban { peer, lie } => {
                let kind = self.kinds[peer as usize];
                assert!(kind.lies(), "{kind:?} banned: {lie}");
                self.banned.insert(peer);
            }
            Output::Progress(p) => {
                assert!(p.chunks_done <= p.chunks_total && p.done.bytes <= p.total.bytes);
            }
            Output::Done { tree, manifest } => {
                let mut true_ones = self.world.chain.iter().chain(&self.world.newer);
                assert!(
                    true_ones.any(|m| m.root() == tree.root()),
                    "adopted a lie: {tree:?}"
                );
                assert_eq!(tree.root(), manifest.root());
                assert_eq!(tree.totals(), manifest.totals());
                let lacking = manifest
                    .chunk_ids()
                    .filter(|id| !self.store.contains_key(id));
                assert_eq!(lacking.count(), 0, "the store has the whole snapshot");
                self.end = End::Done(manifest.height());
            }
            Output::GaveUp(gave_up) => self.end = End::GaveUp(gave_up),
        }
    }

    fn ask(&mut self, peer: u32, wanted: Wanted, chunk: Option<WantedChunk>) {
        assert!(!self.banned.contains(&peer), "a liar is asked again");
        let kind = self.kinds[peer as usize];
        let is_chunk = matches!(wanted, Wanted::Chunk(_));
        let of = match (wanted, &self.target) {
            (Wanted::Manifest(id), _) => id,
            (Wanted::Chunk(_), target) => target.as_ref().unwrap().id(),
        };
        self.held.insert(peer, of);
        let delay_ms = match kind {
            Slow => 4_000 + self.random.below(11_000),
            Withholder if is_chunk => return,
            Dripper if is_chunk => {
                let last = self.dripped_ms.entry(peer).or_default();
                let arrives_ms = self.now_ms + 19_000;
                if arrives_ms < *last + 10_000 {
                    return;
                }
                *last = arrives_ms;
                19_000
            }
            _ => 10 + self.random.below(200),
        };
        let failed = kind == Flaky && self.random.chance(33);
        if kind == Leaving && self.random.chance(10) {
            self.later(delay_ms, Input::Gone { peer });
        }
        if kind == Stuck || self.gone.contains(&peer) {
            return;
        }
        let base = chunk.as_ref().and_then(WantedChunk::base);
        let answer = self.world.answer(kind, wanted, base, &mut self.random);
        let input = match (answer, wanted) {
            _ if failed => Input::Failed { peer, wanted },
            (None, _) => Input::NotHere { peer, wanted },
            (Some(bytes), Wanted::Manifest(id)) => Input::Manifest { peer, id, bytes },
            (Some(bytes), Wanted::Chunk(id)) => Input::Chunk {
                peer,
                id,
                verified: chunk.unwrap().verify(&bytes),
                bytes,
            },
        };
        // Several are verified at once: which is done first, nobody knows.
        let verifying_ms = self.random.below(20);
        self.later(delay_ms + verifying_ms, input);
    }
}
