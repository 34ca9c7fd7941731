//! Four pure replicas in simulated worlds: calm, lossy, crashing, with wiped folders. Each seed is a different world,
//! and a seed that fails is printed: run it alone to see the same thing again.

use tests::simulation::{Report, Simulation, Violation, World};

const EVENTS_MAX: u64 = 2_000_000;

fn run(world: World, height: u64) -> Result<Report, Violation> {
    Simulation::new(world)?.run(height, EVENTS_MAX)
}

fn all(worlds: impl Iterator<Item = World>, height: u64) -> Vec<Report> {
    let results: Vec<_> = worlds.map(|world| run(world, height)).collect();
    let failed: Vec<_> = results.iter().filter_map(|r| r.as_ref().err()).collect();
    assert!(
        failed.is_empty(),
        "{} worlds failed, the first: {}",
        failed.len(),
        failed[0]
    );
    results.into_iter().flatten().collect()
}

#[test]
fn a_calm_network_commits_everything() {
    let report = run(World::calm(1), 30).unwrap_or_else(|v| panic!("{v}"));
    assert!(report.height >= 30, "{report:?}");
    assert!(report.transactions >= 20, "{report:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = |seed| {
        let report = run(World::rough(seed), 12).unwrap_or_else(|v| panic!("{v}"));
        report.trace
    };
    let once = trace(7);
    assert_eq!(once, trace(7));
    assert_ne!(once, trace(8));
}

#[test]
fn losses_and_duplicates_and_crashes_at_any_effect_leave_one_history() {
    let reports = all((0..200).map(World::rough), 10);
    let crashes: u64 = reports.iter().map(|r| r.crashes).sum();
    assert!(
        crashes > 1_000,
        "only {crashes} crashes: the worlds are too calm to prove anything"
    );
}

#[test]
fn a_wiped_validator_votes_again_and_never_twice() {
    let worlds = (0..50).map(|seed| World {
        wipe_percent: 30,
        crash_every: Some(800),
        ..World::rough(10_000 + seed)
    });
    let reports = all(worlds, 15);
    let wipes: u64 = reports.iter().map(|r| r.wipes).sum();
    assert!(wipes > 10, "only {wipes} folders were wiped");
}

#[test]
fn validators_come_and_go_while_nodes_crash() {
    let worlds = (0..40).map(|seed| World {
        nodes: 7,
        joining: 3,
        crash_every: Some(600),
        ..World::rough(20_000 + seed)
    });
    let reports = all(worlds, 40);
    let changes: Vec<u64> = reports.iter().map(|r| r.set_changes).collect();
    assert!(
        changes.iter().all(|n| *n >= 2),
        "in some worlds nobody came or nobody went: {changes:?}"
    );
}

#[test]
fn a_key_that_runs_twice_is_convicted_and_splits_nothing() {
    // Safety and the proofs' soundness are checked at each step: no two histories, no false accusation.
    let reports = all((0..20).map(|seed| World::with_twin(20_000 + seed)), 20);
    let convicted = reports.iter().filter(|r| r.equivocations > 0).count();
    let proofs: Vec<u64> = reports.iter().map(|r| r.equivocations).collect();
    assert!(
        convicted == reports.len(),
        "proofs in each world: {proofs:?}"
    );
}

#[test]
fn nobody_is_accused_where_every_key_runs_once() {
    let reports = all((0..20).map(|seed| World::rough(30_000 + seed)), 10);
    let proofs: Vec<u64> = reports.iter().map(|r| r.equivocations).collect();
    assert!(proofs.iter().all(|n| *n == 0), "{proofs:?}");
}

#[test]
fn proposals_with_other_transactions_under_their_name_make_nobody_stop_or_diverge() {
    let worlds = (0..30).map(|seed| World {
        forged_percent: 50,
        crash_every: Some(600),
        ..World::rough(40_000 + seed)
    });
    let reports = all(worlds, 12);
    let committed: u64 = reports.iter().map(|r| r.transactions).sum();
    assert!(
        committed > 200,
        "only {committed} transactions were committed"
    );
}
