//! Whole syncs against peers of every kind, from one seed each: who answers, when, with what, who leaves, when the joiner
//! itself dies. The same seed gives the same run.
//!
//! Shown over all seeds: no state but the chain's is ever adopted; nobody honest is banned; a liar is asked nothing after
//! its ban; with one good peer the joiner arrives, with none it says so.

use super::*;
use crate::{
    chunk,
    fixtures::{CHAIN, Random, certified_by, keys, manifest, set, set_of, tree},
};
use std::collections::{BTreeMap, BTreeSet};

const SEEDS: u64 = 200;
const TICK_MS: u64 = 200;
const END_MS: u64 = 600_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Good,
    /// Answers after 4 to 15 seconds.
    Slow,
    /// Never answers.
    Stuck,
    /// Has lost a tenth of its chunks.
    Pruned,
    /// A third of the requests to it fail.
    Flaky,
    /// Leaves in the middle.
    Leaving,
    /// Sends chunks with a byte changed, or another chunk.
    ChunkLiar,
    /// Offers a state of its own, signed by nobody that counts.
    StateLiar,
    /// Offers the true state with a manifest whose prefixes are wrong.
    PrefixLiar,
    /// Offers a hundred snapshots of the future, and sends noise for them.
    FutureLiar,
    /// Offers true snapshots, each newer than anybody's, and sends their manifests but no chunk.
    Withholder,
    /// The same, and sends a chunk every 19 seconds.
    Dripper,
}

use Kind::*;

impl Kind {
    fn lies(self) -> bool {
        matches!(self, ChunkLiar | StateLiar | PrefixLiar | FutureLiar)
    }
}

fn config() -> Config {
    Config {
        snapshot_interval: 100,
        ..Config::new(CHAIN, set(), Height(1))
    }
}

/// The snapshots of the chain, and those of the liars.
struct World {
    chain: Vec<Arc<Manifest>>,
    /// True too, and newer than what honest peers have.
    newer: Vec<Arc<Manifest>>,
    chunks: BTreeMap<ChunkId, Vec<u8>>,
    false_state: Arc<Manifest>,
    false_prefix: (ManifestId, Vec<u8>),
}

impl World {
    fn new() -> Self {
        let mut chunks = BTreeMap::new();
        let mut keep = |tree: &Tree| {
            for subtree in tree.cut(crate::fixtures::CUT) {
                let bytes = chunk::encode(&subtree).unwrap();
                chunks.insert(ChunkId(subtree.hash()), bytes);
            }
        };
        let trees = [tree(400, 1), tree(400, 2), tree(20, 9), tree(400, 3)];
        trees.iter().for_each(&mut keep);
        let chain: Vec<_> = (0..2u64)
            .map(|i| Arc::new(manifest(&trees[i as usize], 100 + i * 100)))
            .collect();
        let newer = (3..=40u64)
            .map(|i| Arc::new(manifest(&trees[3], i * 100)))
            .collect();
        let strangers = keys(100);
        let (false_state, _) = Manifest::of_tree(
            &trees[2],
            certified_by(&trees[2], 900, &strangers),
            set_of(&strangers),
            crate::fixtures::CUT,
        )
        .unwrap();
        let false_prefix = chain[1].forged(|_, chunks| {
            let chunk = &mut chunks[3];
            let mut bits = *chunk.prefix.bits();
            let last = chunk.prefix.bit_count() - 1;
            bits.0[usize::from(last / 8)] ^= 0x80 >> (last % 8);
            chunk.prefix = ledger::state::tree::Prefix::of(&bits, last + 1);
        });
        Self {
            chain,
            newer,
            chunks,
            false_state: Arc::new(false_state),
            false_prefix,
        }
    }

    fn offers(&self, kind: Kind) -> Vec<Offer> {
        let offer = |height: u64, manifest| Offer {
            height: Height(height),
            manifest,
        };
        let of = |m: &Arc<Manifest>| offer(m.height().0, m.id());
        match kind {
            StateLiar => vec![of(&self.false_state)],
            PrefixLiar => vec![offer(200, self.false_prefix.0)],
            Withholder | Dripper => self.newer.iter().map(of).collect(),
            FutureLiar => (0..100u8)
                .map(|i| {
                    let id = ledger::hash::Hash([i; 32]);
                    offer(1_000 + u64::from(i), ManifestId(id))
                })
                .collect(),
            _ => self.chain.iter().map(of).collect(),
        }
    }

    /// What a peer sends, none if it says "not here".
    fn answer(&self, kind: Kind, wanted: Wanted, random: &mut Random) -> Option<Vec<u8>> {
        match wanted {
            Wanted::Manifest(_) if kind == FutureLiar => {
                Some((0..200).map(|_| random.next() as u8).collect())
            }
            Wanted::Manifest(id) if id == self.false_prefix.0 => Some(self.false_prefix.1.clone()),
            Wanted::Manifest(id) => {
                let all = self.chain.iter().chain(&self.newer);
                let all = all.chain([&self.false_state]);
                all.into_iter().find(|m| m.id() == id).map(|m| m.encode())
            }
            Wanted::Chunk(id) => {
                let mut bytes = self.chunks.get(&id)?.clone();
                if kind == Pruned && id.0.0[5] < 26 {
                    return None;
                }
                if kind == ChunkLiar && random.chance(50) {
                    let other = random.below(self.chunks.len() as u64) as usize;
                    bytes = self.chunks.values().nth(other)?.clone();
                } else if kind == ChunkLiar {
                    let at = random.below(bytes.len() as u64) as usize;
                    bytes[at] ^= 1 << random.below(8);
                }
                Some(bytes)
            }
        }
    }
}

#[derive(Debug, PartialEq)]
enum End {
    Done(Height),
    GaveUp(GaveUp),
    Never,
}

struct Run<'a> {
    world: &'a World,
    random: Random,
    kinds: Vec<Kind>,
    joiner: Joiner<u32>,
    now_ms: u64,
    /// What arrives when; the number keeps the order of what arrives together.
    under_way: BTreeMap<(u64, u64), Input<u32>>,
    sent: u64,
    store: BTreeMap<ChunkId, Vec<u8>>,
    target: Option<Arc<Manifest>>,
    banned: BTreeSet<u32>,
    gone: BTreeSet<u32>,
    /// When each dripper's last chunk arrives.
    dripped_ms: BTreeMap<u32, u64>,
    fetched: u64,
    end: End,
}

impl<'a> Run<'a> {
    fn new(world: &'a World, seed: u64, kinds: Vec<Kind>) -> Self {
        let config = config();
        let mut run = Self {
            world,
            random: Random::new(seed + 1),
            kinds,
            joiner: Joiner::new(config, 0, BTreeSet::new(), None, None),
            now_ms: 0,
            under_way: BTreeMap::new(),
            sent: 0,
            store: BTreeMap::new(),
            target: None,
            banned: BTreeSet::new(),
            gone: BTreeSet::new(),
            dripped_ms: BTreeMap::new(),
            fetched: 0,
            end: End::Never,
        };
        run.greet();
        run
    }

    fn greet(&mut self) {
        for peer in 0..self.kinds.len() as u32 {
            let offers = self.world.offers(self.kinds[peer as usize]);
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
        self.joiner = Joiner::new(config, self.now_ms, stored, resume, None);
        self.banned.clear();
        self.greet();
    }

    fn go(mut self, restarts: bool) -> Self {
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

    fn carry_out(&mut self, output: Output<u32>) {
        match output {
            Output::Ask { peer, wanted, .. } => self.ask(peer, wanted),
            Output::Read { chunk } => {
                let (id, target) = (chunk.id(), self.target.as_ref().unwrap());
                let stored = self.store.get(&id);
                let chunk = stored.map(|bytes| target.verify_chunk(&chunk, bytes));
                self.later(1, Input::Stored { id, chunk });
            }
            Output::Store { chunk, bytes } => {
                self.fetched += 1;
                self.store.insert(chunk.id(), bytes);
            }
            Output::Target(manifest) => self.target = Some(manifest),
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

    fn ask(&mut self, peer: u32, wanted: Wanted) {
        assert!(!self.banned.contains(&peer), "a liar is asked again");
        let kind = self.kinds[peer as usize];
        let is_chunk = matches!(wanted, Wanted::Chunk(_));
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
        let input = match self.world.answer(kind, wanted, &mut self.random) {
            _ if failed => Input::Failed { peer, wanted },
            Some(bytes) => Input::Answer {
                peer,
                wanted,
                bytes,
            },
            None => Input::NotHere { peer, wanted },
        };
        self.later(delay_ms, input);
    }
}

/// Peers of any kind, the first being good.
fn company(seed: u64) -> Vec<Kind> {
    let all = [
        Good, Slow, Stuck, Pruned, Flaky, Leaving, ChunkLiar, StateLiar, PrefixLiar, FutureLiar,
    ];
    let mut random = Random::new(seed + 77);
    let others = random.below(9);
    let mut kinds: Vec<Kind> = (0..others)
        .map(|_| all[random.below(all.len() as u64) as usize])
        .collect();
    let at = random.below(others + 1) as usize;
    kinds.insert(at, Good);
    kinds
}

#[test]
fn with_one_good_peer_it_arrives_whoever_else_is_there() {
    let world = World::new();
    for seed in 0..SEEDS {
        let run = Run::new(&world, seed, company(seed)).go(false);
        assert_eq!(
            run.end,
            End::Done(Height(200)),
            "seed {seed}: {:?}",
            run.kinds
        );
        assert!(
            run.now_ms < 30_000,
            "seed {seed} took {} ms: {:?}",
            run.now_ms,
            run.kinds
        );
    }
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let world = World::new();
    let mut restarted = 0;
    for seed in 0..SEEDS {
        let run = Run::new(&world, seed, company(seed)).go(true);
        assert!(
            matches!(run.end, End::Done(_)),
            "seed {seed}: {:?} {:?}",
            run.end,
            run.kinds
        );
        // What is fetched twice is at most what restarts damaged, and the other snapshot's.
        let all = world.chain.iter().map(|m| m.chunks().len() as u64);
        assert!(
            run.fetched <= all.sum::<u64>() + 40,
            "seed {seed} fetched {}",
            run.fetched
        );
        restarted += u64::from(run.store.len() as u64 > 0);
    }
    assert!(restarted == SEEDS);
}

#[test]
fn with_liars_alone_nothing_is_adopted_and_it_says_so() {
    let world = World::new();
    let liars = [ChunkLiar, StateLiar, PrefixLiar, FutureLiar];
    for seed in 0..SEEDS {
        let mut random = Random::new(seed + 5);
        let count = 1 + random.below(6);
        let kinds = (0..count)
            .map(|_| liars[random.below(4) as usize])
            .collect();
        let run = Run::new(&world, seed, kinds).go(false);
        // A changed bit may change nothing, and another chunk may be the right one: an arrival would be with the truth.
        assert!(
            matches!(run.end, End::GaveUp(_)),
            "seed {seed}: {:?}",
            run.end
        );
        assert!(run.now_ms <= 120_000, "seed {seed} took {} ms", run.now_ms);
    }
}

#[test]
fn slow_and_flaky_peers_are_enough_and_stuck_ones_are_not() {
    let world = World::new();
    for seed in 0..20 {
        for kinds in [
            vec![Slow],
            vec![Flaky],
            vec![Slow, Stuck, Flaky],
            vec![Pruned, Slow],
        ] {
            let run = Run::new(&world, seed, kinds).go(false);
            assert!(
                matches!(run.end, End::Done(_)),
                "seed {seed}: {:?} {:?}",
                run.kinds,
                run.end
            );
        }
        let run = Run::new(&world, seed, vec![Stuck, Stuck]).go(false);
        assert!(
            matches!(run.end, End::GaveUp(_)),
            "seed {seed}: {:?}",
            run.end
        );
        assert!(run.now_ms <= 31_000);
        let run = Run::new(&world, seed, vec![Pruned]).go(false);
        assert!(!matches!(run.end, End::Done(_)), "nobody has all chunks");
    }
}

/// Whose manifests are true and whose chunks do not come costs its measure once, however many snapshots it offers.
#[test]
fn who_withholds_chunks_holds_nobody_for_long() {
    let world = World::new();
    for seed in 0..20 {
        for (kinds, ms_max) in [
            (vec![Withholder, Good, Good], 45_000),
            (vec![Good, Dripper, Good], 45_000),
            (vec![Good, Withholder], 45_000),
            (vec![Dripper, Good], 45_000),
            (vec![Withholder, Good, Dripper, Good], 80_000),
        ] {
            let run = Run::new(&world, seed, kinds).go(false);
            let (end, ms) = (&run.end, run.now_ms);
            assert_eq!(*end, End::Done(Height(200)), "{seed}: {:?}", run.kinds);
            assert!(ms < ms_max, "{seed} took {ms} ms: {:?}", run.kinds);
        }
        let run = Run::new(&world, seed, vec![Withholder]).go(false);
        let releases = STRIKES_MAX;
        let end = End::GaveUp(GaveUp::Stalled { releases });
        assert_eq!(run.end, end, "seed {seed}, after {} ms", run.now_ms);
    }
}

/// One slow peer among good ones costs a timeout at most, not its own speed.
#[test]
fn one_slow_peer_decides_nothing() {
    let world = World::new();
    for seed in 0..50 {
        let run = Run::new(&world, seed, vec![Good, Slow, Stuck, Good]).go(false);
        assert!(run.now_ms < 12_000, "seed {seed} took {} ms", run.now_ms);
    }
}

#[test]
fn one_seed_gives_one_run() {
    let world = World::new();
    for seed in 0..10 {
        let runs = [(); 2].map(|()| Run::new(&world, seed, company(seed)).go(true));
        let [a, b] = runs.map(|r| (r.now_ms, r.sent, r.fetched, r.store));
        assert_eq!(a, b, "seed {seed}");
    }
}
