//! The joiner's single decisions, one at a time.

use super::*;
use crate::chunk;
use crate::fixtures::{CHAIN, CUT, certified_by, keys, manifest, set, tree};
use std::collections::BTreeMap;

type Out = Vec<Output<u32>>;

fn joiner() -> Joiner<u32> {
    joiner_of_interval(1)
}

fn joiner_of_interval(snapshot_interval: u64) -> Joiner<u32> {
    let config = Config {
        snapshot_interval,
        ..Config::new(CHAIN, set(), Height(1))
    };
    Joiner::new(config, 0, Default::default(), None, None)
}

fn offer(joiner: &mut Joiner<u32>, now_ms: u64, peer: u32, offers: &[(u64, ManifestId)]) -> Out {
    let one = |&(height, manifest): &(u64, ManifestId)| Offer {
        height: Height(height),
        manifest,
    };
    let offers = offers.iter().map(one).collect();
    joiner.handle(now_ms, Input::Offers { peer, offers })
}

fn answer(joiner: &mut Joiner<u32>, now_ms: u64, peer: u32, m: &Manifest) -> Out {
    let (id, bytes) = (m.id(), m.encode());
    joiner.handle(now_ms, Input::Manifest { peer, id, bytes })
}

fn asked(out: &Out) -> Vec<(u32, Wanted)> {
    let one = |o: &Output<u32>| match o {
        Output::AskManifest { peer, id } => Some((*peer, Wanted::Manifest(*id))),
        Output::AskChunk { peer, chunk } => Some((*peer, Wanted::Chunk(chunk.id()))),
        _ => None,
    };
    out.iter().filter_map(one).collect()
}

fn wanted_chunks(out: &Out) -> Vec<(u32, WantedChunk)> {
    let one = |o: &Output<u32>| match o {
        Output::AskChunk { peer, chunk } => Some((*peer, chunk.clone())),
        _ => None,
    };
    out.iter().filter_map(one).collect()
}

fn target(out: &Out) -> Option<u64> {
    out.iter().find_map(|o| match o {
        Output::Target(m) => Some(m.height().0),
        _ => None,
    })
}

fn banned(out: &Out) -> Vec<u32> {
    let one = |o: &Output<u32>| match o {
        Output::Ban { peer, .. } => Some(*peer),
        _ => None,
    };
    out.iter().filter_map(one).collect()
}

#[test]
fn without_any_offer_it_says_so_within_seconds() {
    let mut joiner = joiner();
    assert!(joiner.handle(4_900, Input::Tick).is_empty());
    let out = joiner.handle(5_000, Input::Tick);
    assert!(
        matches!(
            out[..],
            [Output::GaveUp(GaveUp::NoSnapshot { waited_ms: 5_000 })]
        ),
        "{out:?}"
    );
    assert!(joiner.is_over());
}

#[test]
fn the_newest_that_verifies_is_the_target() {
    let mut joiner = joiner();
    let (old, new) = (manifest(&tree(50, 1), 5), manifest(&tree(50, 2), 9));
    offer(&mut joiner, 0, 1, &[(5, old.id())]);
    offer(&mut joiner, 0, 2, &[(9, new.id()), (5, old.id())]);
    let out = joiner.handle(2_000, Input::Tick);
    assert_eq!(
        asked(&out),
        [
            (2, Wanted::Manifest(new.id())),
            (1, Wanted::Manifest(old.id()))
        ]
    );
    assert_eq!(
        target(&answer(&mut joiner, 2_100, 1, &old)),
        None,
        "a newer one is under way"
    );
    assert_eq!(target(&answer(&mut joiner, 2_200, 2, &new)), Some(9));
}

#[test]
fn a_newer_offer_that_never_comes_holds_it_up_for_seconds_only() {
    let mut joiner = joiner();
    let old = manifest(&tree(50, 1), 5);
    offer(&mut joiner, 0, 1, &[(5, old.id())]);
    offer(&mut joiner, 0, 2, &[(9, ManifestId::default())]);
    joiner.handle(1_500, Input::Tick);
    assert_eq!(target(&answer(&mut joiner, 1_600, 1, &old)), None);
    assert_eq!(target(&joiner.handle(6_500, Input::Tick)), Some(5));
}

/// Newer ones come up while it fetches, also one that was asked for before: it fetches what it has begun.
#[test]
fn a_target_stays_whatever_is_newer_meanwhile() {
    let tree_of_old = tree(400, 1);
    let (old, new) = (manifest(&tree_of_old, 5), manifest(&tree(400, 2), 9));
    let newest = manifest(&tree(400, 3), 13);
    let mut joiner = joiner();
    offer(&mut joiner, 0, 1, &[(5, old.id())]);
    offer(&mut joiner, 0, 2, &[(9, new.id())]);
    joiner.handle(1_500, Input::Tick);
    answer(&mut joiner, 1_600, 1, &old);
    let out = joiner.handle(6_500, Input::Tick);
    assert_eq!(target(&out), Some(5));

    let chunks: BTreeMap<ChunkId, Vec<u8>> = tree_of_old
        .cut(CUT)
        .iter()
        .map(|subtree| (ChunkId(subtree.hash()), chunk::encode(subtree).unwrap()))
        .collect();
    let mut owed = wanted_chunks(&out);
    let mut now_ms = 6_600;
    let mut after = answer(&mut joiner, now_ms, 2, &new);
    while !joiner.is_over() {
        now_ms += 100;
        for peer in [1, 2] {
            let offers = [(13, newest.id()), (9, new.id()), (5, old.id())];
            after.extend(offer(&mut joiner, now_ms, peer, &offers));
        }
        owed.extend(wanted_chunks(&after));
        assert_eq!(target(&after), None, "after {now_ms} ms");
        assert!(!owed.is_empty(), "it asks for nothing after {now_ms} ms");
        after.clear();
        for (peer, chunk) in owed.drain(..) {
            let id = chunk.id();
            let bytes = chunks[&id].clone();
            let verified = chunk.verify(&bytes);
            let input = Input::Chunk {
                peer,
                id,
                bytes,
                verified,
            };
            after.extend(joiner.handle(now_ms, input));
        }
    }
    let done = after.iter().find_map(|output| match output {
        Output::Done { manifest, .. } => Some(manifest.height()),
        _ => None,
    });
    assert_eq!(done, Some(Height(5)));
}

/// A new joiner in the same process is told who has lied to the last one.
#[test]
fn who_lied_to_one_joiner_is_not_asked_by_the_next() {
    let good = manifest(&tree(50, 1), 5);
    let mut joiner = joiner().shunning([1]);
    for peer in [1, 2] {
        offer(&mut joiner, 0, peer, &[(5, good.id())]);
    }
    let mut out = joiner.handle(2_000, Input::Tick);
    out.extend(answer(&mut joiner, 2_100, 2, &good));
    let asked: Vec<u32> = asked(&out).iter().map(|(peer, _)| *peer).collect();
    assert!(
        asked.len() > 1 && asked.iter().all(|peer| *peer == 2),
        "{asked:?}"
    );
}

#[test]
fn a_forged_manifest_bans_its_sender_and_a_far_one_does_not() {
    let tree = tree(50, 1);
    let good = manifest(&tree, 9);
    let (forged, bytes) = good.forged(|c, _| c.header.time.0 += 1);
    let mut joiner = joiner();
    offer(&mut joiner, 0, 1, &[(9, forged)]);
    joiner.handle(2_000, Input::Tick);
    let (peer, id) = (1, forged);
    let out = joiner.handle(2_100, Input::Manifest { peer, id, bytes });
    assert_eq!(banned(&out), [1]);
    let out = offer(&mut joiner, 2_200, 1, &[(9, good.id())]);
    assert_eq!(asked(&out), [], "a liar is never asked again");

    let strangers = keys(100);
    let certified = certified_by(&tree, 9, &strangers);
    let set = crate::fixtures::set_of(&strangers);
    let (far, _) = Manifest::of_tree(&tree, certified, set, CUT).unwrap();
    let out = offer(&mut joiner, 2_300, 2, &[(9, far.id())]);
    assert_eq!(asked(&out), [(2, Wanted::Manifest(far.id()))]);
    let out = answer(&mut joiner, 4_100, 2, &far);
    assert_eq!((banned(&out), target(&out)), (vec![], None));
    let out = joiner.handle(30_000, Input::Tick);
    assert!(
        matches!(&out[..], [Output::GaveUp(GaveUp::NoneVerified { last, .. })] if last.contains("1/3")),
        "{out:?}"
    );
}

#[test]
fn a_wrong_height_in_an_offer_is_a_lie() {
    let mut joiner = joiner();
    let good = manifest(&tree(50, 1), 5);
    offer(&mut joiner, 0, 1, &[(99, good.id())]);
    joiner.handle(2_000, Input::Tick);
    assert_eq!(banned(&answer(&mut joiner, 2_100, 1, &good)), [1]);
}

#[test]
fn what_was_not_asked_for_is_dropped() {
    let mut joiner = joiner();
    let good = manifest(&tree(50, 1), 5);
    assert!(answer(&mut joiner, 100, 1, &good).is_empty());
    offer(&mut joiner, 100, 1, &[(5, good.id())]);
    assert!(answer(&mut joiner, 200, 1, &good).is_empty());
    assert!(joiner.target().is_none());
}

#[test]
fn requests_and_peers_are_bounded() {
    let mut joiner = joiner();
    let good = manifest(&tree(3_000, 1), 5);
    let peers = PEERS_MAX as u32 + 50;
    let mut all = Vec::new();
    for peer in 0..peers {
        all.extend(offer(&mut joiner, 0, peer, &[(5, good.id())]));
    }
    all.extend(joiner.handle(2_000, Input::Tick));
    let (peer, _) = asked(&all)[0];
    let out = answer(&mut joiner, 2_100, peer, &good);
    assert_eq!(asked(&out).len(), ASKS_MAX);
    let out = joiner.handle(
        2_200,
        Input::Gone {
            peer: asked(&out)[0].0,
        },
    );
    assert_eq!(asked(&out).len(), 1, "what one owed is asked of another");
}

#[test]
fn one_peer_gets_few_requests_and_a_stuck_one_none() {
    let mut joiner = joiner();
    let good = manifest(&tree(3_000, 1), 5);
    offer(&mut joiner, 0, 1, &[(5, good.id())]);
    joiner.handle(2_000, Input::Tick);
    let out = answer(&mut joiner, 2_100, 1, &good);
    let first = asked(&out);
    assert_eq!(first.len(), ASKS_PER_PEER_MAX);
    assert_eq!(
        asked(&joiner.handle(8_000, Input::Tick)),
        [],
        "late requests keep their slots"
    );
    let out = offer(&mut joiner, 8_100, 2, &[(5, good.id())]);
    let second = asked(&out);
    assert!(second.iter().all(|(peer, _)| *peer == 2));
    let of = |asked: &[(u32, Wanted)]| {
        let mut wanted: Vec<Wanted> = asked.iter().map(|(_, w)| *w).collect();
        wanted.sort();
        wanted
    };
    assert_eq!(of(&second), of(&first), "what is late goes to the other");
}

#[test]
fn a_true_manifest_whose_chunks_are_withheld_gives_way_to_an_older_snapshot() {
    let mut joiner = joiner();
    let (old, new) = (manifest(&tree(50, 1), 5), manifest(&tree(50, 2), 9));
    offer(&mut joiner, 0, 1, &[(5, old.id())]);
    offer(&mut joiner, 0, 2, &[(9, new.id())]);
    joiner.handle(2_000, Input::Tick);
    answer(&mut joiner, 2_100, 1, &old);
    assert_eq!(target(&answer(&mut joiner, 2_200, 2, &new)), Some(9));
    // Nothing comes. What it asks for from then on is answered only where the manifest of 5 is meant.
    let mut reached = None;
    for now_ms in (3_000..120_000).step_by(500) {
        let out = joiner.handle(now_ms, Input::Tick);
        let wanted = Wanted::Manifest(old.id());
        let next = match asked(&out).contains(&(1, wanted)) {
            true => target(&answer(&mut joiner, now_ms, 1, &old)),
            false => target(&out),
        };
        reached = reached.or(next);
    }
    assert_eq!(reached, Some(5));
}

#[test]
fn what_honest_nodes_have_comes_before_what_is_newer() {
    let (old, new) = (manifest(&tree(50, 1), 10), manifest(&tree(50, 2), 13));
    // Where the interval is not known, that two have it speaks for it.
    for (interval, of_old) in [(10, 1..2), (0, 1..3)] {
        let mut joiner = joiner_of_interval(interval);
        of_old.for_each(|peer| drop(offer(&mut joiner, 0, peer, &[(10, old.id())])));
        offer(&mut joiner, 0, 9, &[(13, new.id())]);
        joiner.handle(2_000, Input::Tick);
        assert_eq!(target(&answer(&mut joiner, 2_100, 9, &new)), None);
        assert_eq!(target(&answer(&mut joiner, 2_200, 1, &old)), Some(10));
    }
}

#[test]
fn bytes_that_are_not_the_chunk_ban_their_sender_alone() {
    let tree = tree(400, 1);
    let good = manifest(&tree, 5);
    let mut joiner = joiner();
    for peer in [1, 2] {
        offer(&mut joiner, 0, peer, &[(5, good.id())]);
    }
    joiner.handle(2_000, Input::Tick);
    let asked = wanted_chunks(&answer(&mut joiner, 2_100, 1, &good));
    let of_first: Vec<&WantedChunk> = asked
        .iter()
        .filter(|(p, _)| *p == 1)
        .map(|(_, c)| c)
        .collect();
    let mut owed: Vec<ChunkId> = of_first.iter().map(|chunk| chunk.id()).collect();
    assert_eq!(owed.len(), ASKS_PER_PEER_MAX);
    let other = tree.cut(CUT).into_iter().find(|s| s.hash() == owed[1].0);
    let bytes = chunk::encode(&other.unwrap()).unwrap();
    let verified = of_first[0].verify(&bytes);
    let (peer, id) = (1, owed[0]);
    let input = Input::Chunk {
        peer,
        id,
        bytes,
        verified,
    };
    let out = joiner.handle(2_200, input);
    assert_eq!(banned(&out), [1]);
    let out = offer(&mut joiner, 2_300, 3, &[(5, good.id())]);
    let mut again: Vec<ChunkId> = wanted_chunks(&out).iter().map(|(_, c)| c.id()).collect();
    again.sort();
    owed.sort();
    assert_eq!(again, owed, "another is asked for what it owed");
}

/// It lists the chunk otherwise than the target does: what convicts one says nothing of the other.
#[test]
fn what_refutes_an_earlier_target_does_not_convict_this_one() {
    let tree = tree(400, 1);
    let good = manifest(&tree, 5);
    let mut joiner = joiner();
    offer(&mut joiner, 0, 1, &[(5, good.id())]);
    joiner.handle(2_000, Input::Tick);
    let asked = wanted_chunks(&answer(&mut joiner, 2_100, 1, &good));
    let (peer, chunk) = asked[0].clone();
    let id = chunk.id();
    let subtree = tree.cut(CUT).into_iter().find(|s| s.hash() == id.0);
    let bytes = chunk::encode(&subtree.unwrap()).unwrap();
    let mut listed_wrongly = *good.chunk(&id).unwrap();
    listed_wrongly.entries += 1;
    let error = good.verify_chunk(&listed_wrongly, &bytes).unwrap_err();
    assert!(matches!(error, ChunkError::NotAsListed { .. }), "{error}");
    let input = Input::Chunk {
        peer,
        id,
        bytes,
        verified: Err(error.clone()),
    };
    let out = joiner.handle(2_200, input);
    assert!(banned(&out).is_empty(), "nobody lied about this target");
    let asked: Vec<ChunkId> = wanted_chunks(&out).iter().map(|(_, c)| c.id()).collect();
    assert_eq!(asked, [id], "it is asked for again");
    let chunk = Some(Err(error));
    let out = joiner.handle(2_300, Input::Stored { id, chunk });
    assert!(banned(&out).is_empty());
    assert!(joiner.target().is_some());
}

/// Liars that come again under new names, each with a true manifest: there is an end to it.
#[test]
fn it_gives_up_whatever_names_a_liar_has() {
    let mut joiner = joiner();
    let good = manifest(&tree(50, 1), 5);
    let mut peer = 0;
    for now_ms in (0..4_000_000).step_by(500) {
        for output in joiner.handle(now_ms, Input::Tick) {
            match output {
                Output::AskManifest { peer, id } if id == good.id() => {
                    answer(&mut joiner, now_ms, peer, &good);
                }
                Output::GaveUp(why) => {
                    let releases = RELEASES_MAX;
                    return assert_eq!(why, GaveUp::Stalled { releases });
                }
                _ => {}
            }
        }
        if joiner.target().is_none() && now_ms % 2_000 == 0 {
            joiner.handle(now_ms, Input::Gone { peer });
            peer += 1;
            offer(&mut joiner, now_ms, peer, &[(5, good.id())]);
        }
    }
    panic!("it did not give up; {peer} names");
}

/// A chunk every 15 seconds: gone on with where there is no other peer, unless it would take all day.
#[test]
fn it_is_patient_with_the_only_peer_there_is() {
    let tree = tree(400, 1);
    let good = manifest(&tree, 5);
    let chunk = |subtree: ledger::state::tree::Subtree| {
        let bytes = chunk::encode(&subtree).unwrap();
        (ChunkId(subtree.hash()), bytes)
    };
    let chunks: BTreeMap<ChunkId, Vec<u8>> = tree.cut(CUT).into_iter().map(chunk).collect();
    for (left_ms_max, patient) in [(30 * 60_000, true), (1_000, false)] {
        let mut joiner = joiner();
        joiner.config.left_ms_max = left_ms_max;
        offer(&mut joiner, 0, 1, &[(5, good.id())]);
        joiner.handle(2_000, Input::Tick);
        let mut owed = asked(&answer(&mut joiner, 2_100, 1, &good));
        for i in 1..8u64 {
            let now_ms = 2_100 + i * 5_000;
            owed.extend(asked(&joiner.handle(now_ms, Input::Tick)));
            let Some(&(peer, Wanted::Chunk(id))) = owed.last().filter(|_| i % 3 == 0) else {
                continue;
            };
            let bytes = chunks[&id].clone();
            let verified = good.verify_chunk(good.chunk(&id).unwrap(), &bytes);
            let input = Input::Chunk {
                peer,
                id,
                bytes,
                verified,
            };
            owed.extend(asked(&joiner.handle(now_ms, input)));
        }
        assert_eq!(joiner.target().is_some(), patient, "{left_ms_max} ms");
    }
}
