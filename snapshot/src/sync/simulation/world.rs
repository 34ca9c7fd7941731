//! The peers of a simulated sync, honest and not, and what each has to offer.

use super::*;
use crate::{
    chunk::{self, patch},
    fixtures::{CUT, Random, certified_by, keys, manifest, set_of, tree},
    manifest::Picture,
};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
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
    pub(super) fn lies(self) -> bool {
        matches!(self, ChunkLiar | StateLiar | PrefixLiar | FutureLiar)
    }
}

/// The snapshots of the chain, and those of the liars.
pub(super) struct World {
    pub(super) chain: Vec<Arc<Manifest>>,
    /// True too, and newer than what honest peers have.
    pub(super) newer: Vec<Arc<Manifest>>,
    pub(super) chunks: BTreeMap<ChunkId, Vec<u8>>,
    /// An older snapshot, which the joiner may have.
    pub(super) before: Picture,
    /// Patches on its chunks.
    patches: BTreeMap<(ChunkId, ChunkId), Vec<u8>>,
    pub(super) false_state: Arc<Manifest>,
    pub(super) false_prefix: (ManifestId, Vec<u8>),
}

impl World {
    pub(super) fn new() -> Self {
        let mut chunks = BTreeMap::new();
        let old = tree(400, 5);
        let before = Picture {
            manifest: Arc::new(manifest(&old, 50)),
            tree: old,
        };
        let mut patches = BTreeMap::new();
        let mut keep = |tree: &Tree| {
            for subtree in tree.cut(CUT) {
                let id = ChunkId(subtree.hash());
                chunks.insert(id, chunk::encode(&subtree).unwrap());
                if let Some((base, old)) = before.base_of(&subtree.prefix())
                    && let Some(bytes) = patch::encode(base, &old, &subtree, CUT).unwrap()
                {
                    patches.insert((id, base), bytes);
                }
            }
        };
        keep(&before.tree);
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
            CUT,
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
            before,
            patches,
            false_state: Arc::new(false_state),
            false_prefix,
        }
    }

    pub(super) fn offers(&self, kind: Kind) -> Vec<Offer> {
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

    /// What peers have after so many moves: the two newest snapshots, and the one that is held for who fetches it.
    pub(super) fn newest(&self, moves: u64, held: Option<ManifestId>) -> Vec<Offer> {
        let all: Vec<&Arc<Manifest>> = self.chain.iter().chain(&self.newer).collect();
        let newest = (moves as usize + 1).min(all.len() - 1);
        let is_kept = |at: usize, m: &Manifest| at + 1 >= newest || held == Some(m.id());
        all[..=newest]
            .iter()
            .enumerate()
            .filter(|(at, m)| is_kept(*at, m))
            .map(|(_, m)| Offer {
                height: m.height(),
                manifest: m.id(),
            })
            .collect()
    }

    /// What a peer sends, none if it says "not here".
    pub(super) fn answer(
        &self,
        kind: Kind,
        wanted: Wanted,
        base: Option<ChunkId>,
        random: &mut Random,
    ) -> Option<Vec<u8>> {
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
                if let Some(patch) = base.and_then(|base| self.patches.get(&(id, base)))
                    && random.chance(80)
                {
                    bytes.clone_from(patch);
                }
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
