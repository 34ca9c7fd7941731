//! The benchmark: loads a network from outside, through all of its nodes, and checks that what was sent is what is
//! committed.
//!
//! In order: the accounts are made and given something; all transactions are signed; what this machine's cores can
//! verify is measured; the load runs; the accounts and roots are compared. Each account sends through one node, in the
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
    client::Client,
    commands::verify::compare,
    context::Context,
    failure::{Failure, Result},
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

/// What to offer.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// For how long.
    pub load: Duration,
    /// Transactions a second; without it, as many as are committed.
    pub rate: Option<u64>,
    /// Accounts that send.
    pub accounts: usize,
    /// Without a rate: transactions a second that are signed in advance.
    pub rate_max: u64,
}

impl Plan {
    /// Transactions to sign for each account.
    fn each(&self) -> usize {
        let rate = self.rate.unwrap_or(self.rate_max);
        let total = rate.saturating_mul(self.load.as_secs());
        let accounts = u64::try_from(self.accounts).unwrap_or(u64::MAX).max(1);
        usize::try_from(total.div_ceil(accounts).max(1)).unwrap_or(usize::MAX)
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
    let first = clients
        .first()
        .ok_or_else(|| Failure::failed("unreachable", "no node answers"))?;
    let validators: api::Validators = first.get("/v1/validators")?;
    note(format!(
        "{} accounts: making and funding them",
        plan.accounts
    ));
    let mut accounts = accounts::prepare(context, first, &plan)?;
    note(format!(
        "signing {} transactions",
        accounts.len() * plan.each()
    ));
    accounts::sign(first, &mut accounts, plan.each())?;
    let validators = validators.validators.len().max(1);
    let ceiling = verified_per_second() / validators as f64;

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
        tracker: &tracker,
        seen,
        ceiling,
        validators,
        roots_equal: roots.agree,
        balances_right,
    }))
}

/// The nodes that follow the chain.
fn ready(context: &Context) -> Result<Vec<Client>> {
    let limit = Duration::from_secs(3);
    let all = context.clients()?;
    let is_ready = |client: &Client| client.status(limit).is_ok_and(|status| status.ready);
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

/// Signatures that all cores of this machine verify in a second, in batches, with nothing else to do.
fn verified_per_second() -> f64 {
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
    (batches * CEILING_BATCH as u64) as f64 / begun.elapsed().as_secs_f64()
}
