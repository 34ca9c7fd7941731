//! Whole syncs against peers of every kind, from one seed each: who answers, when, with what, who leaves, when the joiner
//! itself dies. The same seed gives the same run.
//!
//! Shown over all seeds: no state but the chain's is ever adopted; nobody honest is banned; a liar is asked nothing after
//! its ban; with one good peer the joiner arrives, with none it says so.

mod run;
mod world;

use super::*;
use crate::fixtures::Random;
use run::{End, Run};
use world::{
    Kind::{self, *},
    World,
};

const SEEDS: u64 = 200;

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
fn who_has_an_older_snapshot_fetches_what_changed() {
    let world = World::new();
    let whole = |id| world.chunks[&id].len();
    let all: usize = world.chain[1].chunk_ids().map(whole).sum();
    for seed in 0..SEEDS {
        let run = Run::new(&world, seed, vec![Good, Good]).with_older();
        let run = run.go(false);
        assert_eq!(run.end, End::Done(Height(200)), "seed {seed}");
        let bytes = run.fetched_bytes;
        assert!(bytes < all * 2 / 3, "seed {seed}: {bytes} of {all} bytes");
        // And whoever is there, and whenever it dies.
        for restarts in [false, true] {
            let run = Run::new(&world, seed, company(seed)).with_older();
            let run = run.go(restarts);
            let (end, kinds) = (&run.end, &run.kinds);
            assert!(
                matches!(end, End::Done(_)),
                "seed {seed}: {end:?} {kinds:?}"
            );
        }
    }
}

/// Peers take newer snapshots all the time and drop the older ones: what was begun is fetched to its end, each chunk once.
#[test]
fn a_target_is_not_given_up_for_a_newer_one() {
    let world = World::new();
    for seed in 0..50 {
        let run = Run::new(&world, seed, vec![Good, Good]).moving_on();
        let run = run.go(false);
        let (targets, newest) = (&run.targets, run.newest());
        assert_eq!(targets.len(), 1, "seed {seed}: {targets:?} of {newest}");
        assert_eq!(run.end, End::Done(targets[0]), "seed {seed}");
        assert!(
            newest.0 >= targets[0].0 + 300,
            "seed {seed}: nothing has moved: {targets:?} of {newest}"
        );
        let chunks = run.target.as_ref().unwrap().chunks().len();
        assert_eq!(run.fetched, chunks as u64, "seed {seed}: each chunk once");
    }
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
