//! What is fetched and kept of some spaces is enough to prove them whole, and is little else.

use crate::{
    chunk::{self, ChunkId},
    fixtures::{CHAIN, CUT, manifest, set, tree},
    manifest::{ChunkRef, Manifest, Picture},
    scope::Scope,
    store::{Store, StoreError},
    sync::{Config, Input, Joiner, Offer, Output, WantedChunk},
};
use ledger::{
    state::{
        entries::Key,
        tree::{Change, Op, PageLimits, PartialTree, PlaceRange, Prefix, Tree},
    },
    units::Height,
};
use std::collections::{BTreeMap, BTreeSet};

const NO_LIMITS: PageLimits = PageLimits {
    entries: u64::MAX,
    bytes: u64::MAX,
};

fn space(name: &str) -> PlaceRange {
    Key::space_subtree(name).into()
}

fn of_space(name: &str) -> Scope {
    Scope::Around {
        ranges: vec![space(name)],
        places: vec![Key::Validators.place()],
    }
}

fn wanted(manifest: &Manifest, scope: &Scope) -> BTreeSet<ChunkId> {
    let chunks = scope.chunks(manifest).into_iter();
    chunks.map(|at| manifest.chunks()[at].id()).collect()
}

/// Whether what is held proves the whole space as the whole state does.
fn proves(manifest: &Manifest, held: &Tree, state: &Tree, name: &str) -> bool {
    let parts = manifest.chunks().iter().map(ChunkRef::part).collect();
    let partial = PartialTree::new(parts, held).unwrap();
    assert_eq!(partial.root(), state.root());
    let proof = partial.prove_range(space(name), NO_LIMITS);
    proof == Ok(state.prove_range(space(name), NO_LIMITS))
}

/// Runs a joiner against one peer that has everything, and says what was asked for.
fn sync(
    scope: Scope,
    state: &Tree,
    height: u64,
    before: Option<Picture>,
    stored: &Store,
) -> (Picture, BTreeSet<ChunkId>) {
    let target = manifest(state, height);
    let chunk = |subtree: ledger::state::tree::Subtree| {
        let bytes = chunk::encode(&subtree).unwrap();
        (ChunkId(subtree.hash()), bytes)
    };
    let chunks: BTreeMap<ChunkId, Vec<u8>> = state.cut(CUT).into_iter().map(chunk).collect();
    let config = Config {
        scope,
        ..Config::new(CHAIN, set(), Height(1))
    };
    let mut joiner = Joiner::new(config, 0, stored.chunk_ids(), None, before);
    let offers = vec![Offer {
        height: Height(height),
        manifest: target.id(),
    }];
    let mut inputs = vec![Input::Offers { peer: 1, offers }, Input::Tick];
    let mut asked = BTreeSet::new();
    for now_ms in (2_000..1_000_000).step_by(100) {
        let input = inputs.pop().unwrap_or(Input::Tick);
        for output in joiner.handle(now_ms, input) {
            match output {
                Output::AskManifest { peer, id } => {
                    let bytes = target.encode();
                    inputs.push(Input::Manifest { peer, id, bytes });
                }
                Output::AskChunk { peer, chunk } => {
                    let id = chunk.id();
                    asked.insert(id);
                    let bytes = chunks[&id].clone();
                    let verified = chunk.verify(&bytes);
                    inputs.push(Input::Chunk {
                        peer,
                        id,
                        bytes,
                        verified,
                    });
                }
                Output::Read { chunk } => {
                    let read = stored.load_chunk(&target, &chunk).ok().map(Ok);
                    let id = chunk.id();
                    inputs.push(Input::Stored { id, chunk: read });
                }
                Output::Store { chunk, bytes } => {
                    stored
                        .put_chunk(target.id(), chunk.subtree(), &bytes)
                        .unwrap();
                }
                Output::Done { tree, manifest } => return (Picture { manifest, tree }, asked),
                Output::Progress(progress) => {
                    assert!(progress.chunks_total < target.chunks().len() as u64);
                    assert!(progress.total.bytes < target.totals().bytes);
                }
                Output::Ban { lie, .. } => panic!("{lie}"),
                Output::GaveUp(why) => panic!("{why}"),
                Output::Target(_) => {}
            }
        }
    }
    panic!("it never ended");
}

#[test]
fn what_is_fetched_proves_the_space_and_is_little_else() {
    let (dir, state) = (tempfile::tempdir().unwrap(), tree(600, 1));
    let store = Store::open(dir.path()).unwrap();
    let (picture, asked) = sync(of_space("space1"), &state, 5, None, &store);
    let all = picture.manifest.chunks().len();
    assert_eq!(asked, wanted(&picture.manifest, &of_space("space1")));
    assert!(asked.len() < all / 2, "{} of {all}", asked.len());
    assert!(proves(&picture.manifest, &picture.tree, &state, "space1"));
    assert!(!proves(&picture.manifest, &picture.tree, &state, "space2"));
    // A space that nobody has made: that it has no records is proven by its neighbours.
    let (picture, asked) = sync(of_space("nobody's"), &state, 5, None, &store);
    assert!(asked.len() <= 3);
    assert!(proves(&picture.manifest, &picture.tree, &state, "nobody's"));
}

#[test]
fn what_did_not_change_is_not_fetched_again() {
    let (dir, old, new) = (tempfile::tempdir().unwrap(), tree(600, 1), tree(600, 2));
    let store = Store::open(dir.path()).unwrap();
    let scope = of_space("space1");
    let (before, first) = sync(scope.clone(), &old, 5, None, &store);
    store.put_parts(&before.manifest, &scope).unwrap();
    let (picture, asked) = sync(scope.clone(), &new, 6, Some(before), &store);
    assert!(asked.is_disjoint(&first));
    let needed = wanted(&picture.manifest, &scope);
    assert!(!asked.is_empty() && asked.len() < needed.len());
    assert!(proves(&picture.manifest, &picture.tree, &new, "space1"));
}

#[test]
fn a_follower_goes_on_from_what_it_kept() {
    let (dir, old, new) = (tempfile::tempdir().unwrap(), tree(600, 1), tree(600, 2));
    let scope = of_space("space1");
    let open = || Store::open(dir.path()).unwrap();
    let root_of = |store: &Store| {
        let found = store.load_parts(&scope).unwrap()?;
        Some((found.manifest.height(), found.tree?.root()))
    };
    let store = open();
    assert!(store.load_parts(&scope).unwrap().is_none());
    let (first, _) = sync(scope.clone(), &old, 5, None, &store);
    store.put_parts(&first.manifest, &scope).unwrap();
    let kept = Some((Height(5), first.tree.root()));
    assert_eq!(root_of(&open()), kept);
    // Killed while the next one is fetched: the one before is there, and what was begun is gone.
    let store = open();
    let (second, _) = sync(scope.clone(), &new, 6, Some(first.clone()), &store);
    let store = open();
    assert_eq!(root_of(&store), kept);
    assert_eq!(store.chunk_ids(), wanted(&first.manifest, &scope));
    assert!(matches!(
        store.put_parts(&second.manifest, &scope),
        Err(StoreError::NotWhole { .. })
    ));
    assert_eq!(root_of(&store), kept);
    // Done: the one before goes.
    let (second, _) = sync(scope.clone(), &new, 6, Some(first), &store);
    store.put_parts(&second.manifest, &scope).unwrap();
    assert_eq!(root_of(&store), Some((Height(6), second.tree.root())));
    assert_eq!(open().chunk_ids(), wanted(&second.manifest, &scope));
    // Another space is not there, though it is known of which snapshot it would be; and of the first nothing is kept then.
    let store = open();
    let other = of_space("space2");
    let found = store.load_parts(&other).unwrap().unwrap();
    assert!(found.manifest.height() == Height(6) && found.tree.is_none());
    store.sweep().unwrap();
    assert!(
        store
            .chunk_ids()
            .is_subset(&wanted(&second.manifest, &other))
    );
    // A damaged chunk is not believed.
    sync(scope.clone(), &new, 6, None, &store);
    store.put_parts(&second.manifest, &scope).unwrap();
    let lost = dir.path().join("chunks");
    let lost = std::fs::read_dir(lost).unwrap().next().unwrap().unwrap();
    std::fs::write(lost.path(), b"x").unwrap();
    assert_eq!(root_of(&open()), None);
    open().clear_parts().unwrap();
    assert_eq!(open().chunk_ids(), BTreeSet::new());
}

/// A chunk that is owed for a target which was given up is none of the next target's, though that lists it too.
#[test]
fn a_late_chunk_of_an_earlier_target_is_not_counted() {
    let old = tree(600, 1);
    let mut names = ["space0", "space1", "space2"].map(|name| (space(name).from, name));
    names.sort();
    let [_, (before, _), (begins, followed)] = names;
    // A record so large that it is a chunk by itself, between the followed space and what was its neighbour.
    let between = (0..10_000).map(|n| Key::Record {
        space: format!("between{n}"),
        key: vec![1],
    });
    let fits =
        |key: &Key| (PlaceRange::from(Prefix::of(&before, 64)).to..begins).contains(&key.place());
    let key = between.into_iter().find(fits).unwrap();
    let mut new = old.clone();
    let change = Change {
        place: key.place(),
        op: Op::Put {
            key: &key.encode(),
            value: &[7; 2 * CUT as usize],
        },
    };
    new.apply(&[change]).unwrap();

    let scope = of_space(followed);
    let [first, second] = [(&old, 5), (&new, 6)].map(|(tree, height)| manifest(tree, height));
    let late = wanted(&first, &scope)
        .into_iter()
        .find(|id| second.chunk(id).is_some() && !wanted(&second, &scope).contains(id))
        .unwrap();
    let config = Config {
        scope,
        stall_ms: 1_000,
        ..Config::new(CHAIN, set(), Height(1))
    };
    let mut joiner = Joiner::new(config, 0, BTreeSet::new(), None, None);
    let mut owed: BTreeMap<ChunkId, WantedChunk> = BTreeMap::new();
    let mut done = None;
    let mut step = |joiner: &mut Joiner<u32>, now_ms, input| {
        for output in joiner.handle(now_ms, input) {
            eprintln!(
                "{now_ms} {}",
                format!("{output:?}").chars().take(90).collect::<String>()
            );
            match output {
                Output::AskChunk { chunk, .. } => {
                    owed.entry(chunk.id()).or_insert(chunk);
                }
                Output::Done { tree, .. } => done = Some(tree),
                _ => {}
            }
        }
        (owed.clone(), done.clone())
    };
    let offers = |m: &Manifest| {
        let (height, manifest) = (m.height(), m.id());
        vec![Offer { height, manifest }]
    };
    let sent = |peer, m: &Manifest| Input::Manifest {
        peer,
        id: m.id(),
        bytes: m.encode(),
    };
    let chunks: BTreeMap<ChunkId, Vec<u8>> = [&old, &new]
        .iter()
        .flat_map(|tree| tree.cut(CUT))
        .map(|s| (ChunkId(s.hash()), chunk::encode(&s).unwrap()))
        .collect();
    let answer = |peer, chunk: &WantedChunk| {
        let bytes = chunks[&chunk.id()].clone();
        Input::Chunk {
            peer,
            id: chunk.id(),
            verified: chunk.verify(&bytes),
            bytes,
        }
    };
    // Twelve peers, so that every chunk is asked for at once; none answers, and the target is given up.
    for peer in 0..12 {
        step(
            &mut joiner,
            0,
            Input::Offers {
                peer,
                offers: offers(&first),
            },
        );
    }
    step(&mut joiner, 2_000, Input::Tick);
    let (first_owed, _) = step(&mut joiner, 2_000, sent(0, &first));
    assert!(first_owed.contains_key(&late));
    step(&mut joiner, 4_000, Input::Tick);
    assert!(joiner.target().is_none());
    for peer in 0..13 {
        step(
            &mut joiner,
            4_000,
            Input::Offers {
                peer,
                offers: offers(&second),
            },
        );
    }
    // Manifests are asked for when the chunks that were asked for are late.
    step(&mut joiner, 8_000, Input::Tick);
    let mut owed_now = first_owed.clone();
    for peer in 0..13 {
        owed_now = step(&mut joiner, 8_000, sent(peer, &second)).0;
    }
    assert_eq!(joiner.target().map(|m| m.id()), Some(second.id()));
    let mut now_ms = 8_000;
    let mut ended = None;
    while ended.is_none() && now_ms < 60_000 {
        now_ms += 100;
        for (id, chunk) in owed_now.clone() {
            // What is late comes before the last of those that are wanted.
            let chunk = if id == late {
                &first_owed[&late]
            } else {
                &chunk
            };
            for peer in 0..13 {
                let (owed, tree) = step(&mut joiner, now_ms, answer(peer, chunk));
                (owed_now, ended) = (owed, tree.or(ended));
            }
        }
        step(&mut joiner, now_ms, Input::Tick);
    }
    assert!(proves(&second, &ended.unwrap(), &new, followed));
}
