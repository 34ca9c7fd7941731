//! Every decoder of outside bytes, given thousands of bent messages: none panics, none takes another encoding than its own,
//! and none allocates for what bytes only promise. The same bytes each time, in a few seconds; `tests/fuzz` runs the same
//! decoders for as long as one likes.

use std::{
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};
use tests::{
    decoders::{ALL, Decoder, mutate::mutate},
    meter::{Meter, peak_of},
    simulation::Random,
};

#[global_allocator]
static METER: Meter = Meter;

/// What the most expensive decoder may allocate whatever it is given: serde sets aside up to 1 MiB for a list before
/// its items come, and lists stand in lists; a disk is read through buffers of some hundred KiB.
const ALLOCATED_MAX: usize = 4 << 20;
/// And for each byte that it is given.
const ALLOCATED_MAX_PER_BYTE: usize = 64;

/// The time for one decoder, in tens of microseconds by its cost: so many runs.
const RUNS_COST: u32 = 60_000;

/// Runs a decoder; answers with what is wrong, if something is.
fn fault(decoder: &Decoder, bytes: &[u8], taken: &mut u32) -> Option<String> {
    let (ended, peak) = peak_of(|| catch_unwind(AssertUnwindSafe(|| (decoder.run)(bytes))));
    match ended {
        Ok(good) => *taken += u32::from(good),
        Err(_) => return Some("panicked".to_owned()),
    }
    let max = ALLOCATED_MAX + ALLOCATED_MAX_PER_BYTE * bytes.len();
    (peak > max).then(|| format!("allocated {peak} bytes, {max} are allowed"))
}

/// The bytes, to be looked at; long ones are cut, as the run's number gives them again.
fn hex(bytes: &[u8]) -> String {
    let cut = bytes.get(..300).unwrap_or(bytes);
    let text = cut.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    format!("{text} ({} bytes)", bytes.len())
}

/// One test for all of them, because the allocator is measured.
#[test]
fn no_decoder_panics_or_believes_a_promise() {
    let mut table = String::new();
    let mut faults = Vec::new();
    for decoder in ALL {
        let seeds = (decoder.seeds)();
        let mut taken = 0;
        faults.extend(seeds.iter().filter_map(|seed| {
            let what = fault(decoder, seed, &mut taken)?;
            Some(format!("{} {what} on a seed: {}", decoder.name, hex(seed)))
        }));
        if taken == 0 {
            faults.push(format!("{} takes none of its seeds", decoder.name));
        }
        let mut random = Random::new(1);
        let runs = RUNS_COST / decoder.cost;
        let (mut bent, began, mut slowest) = (0, Instant::now(), Duration::ZERO);
        for run in 0..runs {
            let bytes = mutate(&mut random, &seeds);
            let began = Instant::now();
            if let Some(what) = fault(decoder, &bytes, &mut bent) {
                faults.push(format!(
                    "{} {what} at run {run}: {}",
                    decoder.name,
                    hex(&bytes)
                ));
                break;
            }
            slowest = slowest.max(began.elapsed());
        }
        let (name, took) = (decoder.name, began.elapsed());
        let _ = writeln!(
            table,
            "{name:20} {runs:6} runs, {bent:5} taken, {took:.1?}, slowest {slowest:.1?}"
        );
    }
    println!("{table}");
    assert!(faults.is_empty(), "{}\n{table}", faults.join("\n"));
}
