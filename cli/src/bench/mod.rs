//! The benchmark: loads a network from outside, through all of its nodes, and checks that what was sent is what is
//! committed.
//!
//! In order: what this machine's cores can verify is measured; the accounts are made and given something; all
//! transactions are signed, more than the network can commit in the time; the load runs; the accounts and roots are
//! compared. Each account sends through one node, in the
//! order of its nonces, and pays one to the next account, so that every balance at the end is known in advance.
//!
//! Latency is from the moment a transaction was due (with `--rate`) or sent (without) to the moment a client that
//! listens to a node's events has seen its block. The clients run on the same cores as the nodes, and cost them.

mod accounts;
mod follow;
mod load;
mod report;

use crate::{
    api,
    client::{Client, Standing},
    commands::verify::compare,
    context::Context,
    failure::{Failure, Result},
    interrupt::{self, Known},
};
use follow::Follower;
use ledger::{
    hash::Domain,
    keys::{Batch, SecretKey},
};
use load::Tracker;
use rayon::prelude::*;
pub use report::Report;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How long the last transactions may take to be committed.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);
/// For how long signatures are verified to measure the ceiling.
const CEILING_SPAN: Duration = Duration::from_secs(2);
/// Signatures in a batch.
const CEILING_BATCH: usize = 256;
/// How much more is signed than can be verified by the measure: a machine that was busy then may be idle later, and the
/// load must not end before its time.
const CEILING_MARGIN_PERCENT: u64 = 150;
/// Memory that a signed transaction takes until it is committed: 250 bytes, its id twice, times and the allocator's part.
const TRANSACTION_BYTES: u64 = 512;
/// The part of the free memory that transactions may take; the nodes need some too.
const MEMORY_PARTS: u64 = 4;
/// Transactions that are signed if the system does not say how much memory is free.
const TRANSACTIONS_DEFAULT: u64 = 1_000_000;

/// What to offer.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// For how long.
    pub load: Duration,
    /// Transactions a second; without it, as many as are committed.
    pub rate: Option<u64>,
    /// Accounts that send.
    pub accounts: usize,
    /// Without a rate: transactions a second that are signed in advance; what the ceiling suggests if none is given.
    pub rate_max: Option<u64>,
}

impl Plan {
    /// Transactions to sign for each account, on a network that commits at most `ceiling` a second, with room in memory
    /// for `transactions_max`. And whether that room is too small for the whole time at the ceiling.
    fn each(&self, ceiling: u64, transactions_max: u64) -> (usize, bool) {
        let suggested = ceiling.saturating_mul(CEILING_MARGIN_PERCENT).div_ceil(100);
        let rate = self.rate.or(self.rate_max).unwrap_or(suggested);
        let wanted = rate.saturating_mul(self.load.as_secs());
        let total = wanted.min(transactions_max);
        let accounts = u64::try_from(self.accounts).unwrap_or(u64::MAX).max(1);
        let each = usize::try_from(total.div_ceil(accounts).max(1)).unwrap_or(usize::MAX);
        (each, total < wanted)
    }
}

impl Plan {
    /// Why the load ended before its time, if it did, with `signed` transactions to send.
    fn ended_early(&self, loaded: Duration, signed: usize, tracker: &Tracker) -> Option<String> {
        if loaded * 10 >= self.load * 9 {
            return None;
        }
        let sent = tracker.accepted();
        let why = if sent < signed as u64 {
            "the accounts whose transactions were refused stopped: see `refused`".to_owned()
        } else if let Some(rate_max) = self.rate_max {
            format!("--rate-max {rate_max} signs no more: give a higher one, or leave it out")
        } else {
            "no more were signed: give a --rate-max".to_owned()
        };
        let seconds = loaded.as_secs_f64();
        Some(format!(
            "the load ended after {seconds:.1} s, with {sent} of {signed} transactions taken: {why}"
        ))
    }
}

/// Measures.
///
/// # Errors
/// If no node answers, or the accounts cannot be made.
pub fn run(context: &Context, plan: Plan) -> Result<Report> {
    let note = |text: String| {
        if !context.out.is_json() {
            context.out.note(&text);
        }
    };
    let clients = ready(context)?;
    interrupt::leaves(
        "load",
        Known {
            message: "the benchmark was cut; what it sent may still become final".into(),
            ..Known::default()
        },
    );
    let first = clients
        .first()
        .ok_or_else(|| Failure::failed("unreachable", "no node answers"))?;
    let validators: api::Validators = first.get("/v1/validators")?;
    let validators = validators.validators.len().max(1);
    let verified = verified_per_second();
    let ceiling = verified as f64 / validators as f64;
    let (each, is_short) = plan.each(verified / validators as u64, transactions_max());
    note(format!(
        "{} accounts: making and funding them",
        plan.accounts
    ));
    let mut accounts = accounts::prepare(context, first, plan.accounts, each)?;
    let signed = accounts.len().saturating_mul(each);
    note(format!("signing {signed} transactions"));
    if is_short {
        note("the free memory holds no more of them: the load may end before its time".into());
    }
    accounts::sign(first, &mut accounts, each)?;

    let accounts = Arc::new(accounts);
    let tracker = Arc::new(Tracker::new(&accounts));
    let head = first.get::<api::Status>("/v1/status")?.height;
    let follower = Follower::start(first.clone(), head, Arc::clone(&tracker))?;
    note(format!(
        "{} s of load through {} nodes",
        plan.load.as_secs(),
        clients.len()
    ));
    let begun = Instant::now();
    load::run(&clients, &accounts, &tracker, plan);
    let loaded = begun.elapsed();
    let ended_early = plan.ended_early(loaded, signed, &tracker);
    if let Some(why) = &ended_early {
        note(why.clone());
    }
    note("waiting for the last blocks".into());
    let deadline = Instant::now() + DRAIN_LIMIT;
    while tracker.outstanding() > 0 && Instant::now() < deadline && follower.is_alive() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let seen = follower.finish();
    let balances_right = accounts::check(&clients, &accounts, &tracker)?;
    let roots = compare(&clients, None)?;
    Ok(Report::new(&report::Measured {
        plan,
        loaded,
        ended_early,
        tracker: &tracker,
        seen,
        ceiling,
        validators,
        roots_equal: roots.agree,
        balances_right,
    }))
}

/// The nodes that follow the whole chain.
fn ready(context: &Context) -> Result<Vec<Client>> {
    let limit = Duration::from_secs(3);
    let all = context.clients()?;
    let is_ready = |client: &Client| client.standing(limit) == Some(Standing::Follows);
    let ready: Vec<Client> = all.into_iter().filter(is_ready).collect();
    if ready.is_empty() {
        let message = "no node follows the chain";
        return Err(
            Failure::new(crate::failure::Exit::Unreachable, "unreachable", message)
                .help("`tintype testnet status` shows the nodes"),
        );
    }
    Ok(ready)
}

/// Signed transactions that the free memory has room for.
fn transactions_max() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    free_bytes(&text).map_or(TRANSACTIONS_DEFAULT, |bytes| {
        bytes / MEMORY_PARTS / TRANSACTION_BYTES
    })
}

/// The free memory in the text of `/proc/meminfo`.
fn free_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// Signatures that all cores of this machine verify in a second, in batches, with nothing else to do.
fn verified_per_second() -> u64 {
    let keys: Vec<SecretKey> = (0..CEILING_BATCH)
        .map(|index| {
            let mut seed = [7; 32];
            seed[..8].copy_from_slice(&(index as u64).to_be_bytes());
            SecretKey::from_seed(seed)
        })
        .collect();
    let signed: Vec<_> = keys
        .iter()
        .map(|key| {
            let bytes = [3u8; 140];
            (
                key.public_key(),
                bytes,
                key.sign(Domain::TransactionPayload, &bytes),
            )
        })
        .collect();
    let begun = Instant::now();
    let batches: u64 = (0..rayon::current_num_threads())
        .into_par_iter()
        .map(|_| {
            let mut batches = 0;
            while begun.elapsed() < CEILING_SPAN {
                let mut batch = Batch::with_capacity(CEILING_BATCH);
                for (key, bytes, signature) in &signed {
                    batch.add(key, Domain::TransactionPayload, bytes, signature);
                }
                batches += u64::from(batch.verify().iter().all(|&holds| holds));
            }
            batches
        })
        .sum();
    let elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    batches * CEILING_BATCH as u64 * 1000 / elapsed_ms.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan {
        load: Duration::from_secs(60),
        rate: None,
        accounts: 100,
        rate_max: None,
    };

    #[test]
    fn enough_is_signed_for_the_whole_time() {
        assert_eq!(PLAN.each(20_000, u64::MAX), (18_000, false));
        let rate = Plan {
            rate: Some(50),
            ..PLAN
        };
        assert_eq!(rate.each(20_000, u64::MAX), (30, false));
        let given = Plan {
            rate_max: Some(1000),
            ..PLAN
        };
        assert_eq!(given.each(20_000, u64::MAX), (600, false));
    }

    #[test]
    fn a_load_that_ends_early_says_why() {
        let tracker = Tracker::new(&[]);
        let plan = Plan {
            rate_max: Some(5),
            ..PLAN
        };
        let whole = Duration::from_millis(59_900);
        assert_eq!(plan.ended_early(whole, 0, &tracker), None);
        let early = Duration::from_secs(1);
        let why = plan.ended_early(early, 0, &tracker).unwrap();
        assert!(why.contains("--rate-max 5"), "{why}");
        let why = plan.ended_early(early, 7, &tracker).unwrap();
        assert!(why.contains("refused"), "{why}");
    }

    #[test]
    fn no_more_is_signed_than_memory_holds() {
        assert_eq!(PLAN.each(20_000, 1_000_000), (10_000, true));
        let text = "MemTotal:  100 kB\nMemAvailable:     64 kB\n";
        assert_eq!(free_bytes(text), Some(65_536));
        assert_eq!(free_bytes("MemTotal: 1 kB"), None);
    }
}
