//! `tintype verify chain`: follows the headers from what is trusted to the newest, as a light client.
//!
//! Headers come from any node that has them, those that follow the whole chain first, and none is believed: see
//! [`ledger::light::follow`]. All are asked for the last one. If they show another that is certified too, the chain has forked,
//! and both are printed.

use crate::{
    client::{Client, Standing},
    context::Context,
    evidence::light_block,
    failure::{Exit, Failure, Result},
    table::{fields, grouped, or_dash, table},
    testnet::{Testnet, create::now},
};
use clap::Args;
use ledger::{
    genesis::Genesis,
    hash::BlockHash,
    light::{Checkpoint, Clock, FollowError, Followed, LightBlock, Trusted, follow},
    units::Height,
};
use serde::Serialize;
use std::{cmp::Reverse, collections::BTreeMap, str::FromStr, time::Duration};

/// How long a node may take to say how far it is.
const STATUS_LIMIT: Duration = Duration::from_secs(3);

/// `tintype verify chain`
#[derive(Debug, Args)]
pub struct ChainArgs {
    /// Trust this block instead of the genesis: a source that you trust told you its hash
    #[arg(long, value_name = "HEIGHT:HASH")]
    pub trust: Option<Checkpoint>,
    /// For how long a header is trusted: longer ago its validators may have nothing left to lose
    #[arg(long, value_name = "TIME", default_value = "14d")]
    pub trusting_period: Period,
    /// Follow to this height [default: the newest]
    #[arg(long, value_name = "H")]
    pub height: Option<u64>,
}

/// A length of time, such as `14d`, `36h`, `10m` or `90s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period(Duration);

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || "give a number with s, m, h or d, such as 14d".to_owned();
        let unit_s = match text.chars().last() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            Some('d') => 24 * 3600,
            _ => return Err(wrong()),
        };
        let digits = text.get(..text.len() - 1).unwrap_or_default();
        let count: u32 = digits.parse().map_err(|_| wrong())?;
        Ok(Self(Duration::from_secs(u64::from(count) * unit_s)))
    }
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
struct Report {
    /// The height that was trusted.
    from: Height,
    /// The height that is now.
    to: Height,
    /// The block of that height.
    hash: BlockHash,
    /// Headers that were verified.
    headers_checked: u64,
    /// How often one had other validators than the one before it.
    validator_set_changes: u64,
    /// Whether all verified.
    verified: bool,
    /// What each node says of the last height.
    nodes: Vec<Witness>,
}

/// What a node says of the last height.
#[derive(Clone, Debug, Serialize)]
struct Witness {
    /// The node.
    name: String,
    /// The block that it has there; none if it has none.
    hash: Option<BlockHash>,
    /// Why it has none.
    why: Option<String>,
}

/// Follows the chain.
///
/// # Errors
/// Exit code 4 if a header does not verify, or two are certified; 5 if no node answers.
pub fn run(context: &Context, args: &ChainArgs) -> Result {
    let genesis = Testnet::at(&context.dir).genesis();
    let report = check(&context.clients()?, genesis, args)?;
    context.out.result(&report, || text(&report));
    Ok(())
}

/// Follows the chain to what half of the nodes have, and asks all of them for that block.
fn check(clients: &[Client], genesis: Result<Genesis>, args: &ChainArgs) -> Result<Report> {
    let sources = Sources::of(clients)?;
    let trusted = trusted(genesis, &sources, args.trust)?;
    let period_ms = u64::try_from(args.trusting_period.0.as_millis()).unwrap_or(u64::MAX);
    let clock = Clock {
        now: now(),
        trusting_period_ms: period_ms,
    };
    let from = trusted.height();
    let height = args.height.map_or(sources.height, Height);
    if height <= from {
        let message = format!("the chain is at height {height}, which is not ahead of {from}");
        return Err(Failure::new(Exit::Refused, "not_ahead", message)
            .help("wait for a block, or name an earlier one to trust"));
    }
    let (first, followed) = followed(&sources, trusted.clone(), height, &clock)?;
    let mut report = Report {
        from,
        to: height,
        hash: followed.trusted.hash(),
        headers_checked: followed.headers_checked,
        validator_set_changes: followed.validator_set_changes,
        verified: true,
        nodes: Vec::new(),
    };
    for client in clients {
        let name = client.name().to_owned();
        let said = light_block(client, &height.to_string());
        let hash = said.as_ref().ok().map(|block| block.header.hash());
        let why = said.err().map(|failure| failure.message);
        report.nodes.push(Witness { name, hash, why });
    }
    let mut said = clients.iter().zip(&report.nodes);
    let another = said.find_map(|(client, witness)| {
        let hash = witness.hash.filter(|hash| *hash != report.hash)?;
        Some((client, hash))
    });
    if let Some((client, other)) = another {
        // What does not verify is that node's lie alone, and says so.
        let its = sources.with_first(client);
        let (second, followed) = self::followed(&its, trusted, height, &clock)?;
        if followed.trusted.hash() == other {
            return Err(forked(&report, first, second, other));
        }
        let why = format!("it showed block {other} of height {height}, and does not stand by it");
        return Err(falsehood(client, &why));
    }
    Ok(report)
}

/// The nodes that answer, the one to be asked first in front.
#[derive(Clone, Debug)]
struct Sources<'a> {
    clients: Vec<&'a Client>,
    /// What half of the best of them have reached: one that claims to be far ahead or behind changes nothing.
    height: Height,
}

impl<'a> Sources<'a> {
    /// Who follows the whole chain before those that are behind or follow spaces, and of each kind the furthest first.
    fn of(clients: &'a [Client]) -> Result<Self> {
        let mut answering = Vec::new();
        let mut last = None;
        for client in clients {
            match client.status(STATUS_LIMIT) {
                Ok(status) => {
                    answering.push((Standing::of(&status), Reverse(status.height), client));
                }
                Err(failure) => last = Some(failure),
            }
        }
        answering.sort_by_key(|(standing, height, _)| (*standing, *height));
        let Some((best, ..)) = answering.first() else {
            let nobody = Failure::new(Exit::Unreachable, "unreachable", "no node answers");
            return Err(last.unwrap_or(nobody));
        };
        let alike = answering
            .iter()
            .take_while(|(standing, ..)| standing == best);
        let heights: Vec<Height> = alike.map(|(_, Reverse(height), _)| *height).collect();
        Ok(Self {
            height: heights[heights.len() / 2],
            clients: answering.iter().map(|(_, _, client)| *client).collect(),
        })
    }

    /// The same, another one first.
    fn with_first(&self, first: &'a Client) -> Self {
        let others = self.clients.iter().filter(|c| c.url() != first.url());
        Self {
            clients: std::iter::once(first).chain(others.copied()).collect(),
            height: self.height,
        }
    }

    /// The header of a height, and who gave it: old ones are not everywhere.
    fn fetch(&self, height: Height) -> Result<(&'a Client, LightBlock)> {
        let mut refusals = Vec::new();
        let mut first = None;
        for client in &self.clients {
            match light_block(client, &height.to_string()) {
                Ok(block) => return Ok((client, block)),
                Err(failure) => {
                    refusals.push(format!("{}: {}", client.name(), failure.message));
                    first = first.or(Some(failure));
                }
            }
        }
        let nobody = || Failure::new(Exit::Unreachable, "unreachable", "no node answers");
        Err(Failure {
            message: refusals.join("; "),
            ..first.unwrap_or_else(nobody)
        })
    }
}

/// What everything is verified from.
fn trusted(
    genesis: Result<Genesis>,
    sources: &Sources<'_>,
    checkpoint: Option<Checkpoint>,
) -> Result<Trusted> {
    let Some(checkpoint) = checkpoint else {
        let genesis = genesis.map_err(|e| {
            let message = format!("there is no genesis to trust: {}", e.message);
            Failure::new(e.exit, "genesis_missing", message).help(
                "--dir says which folder has the chain's genesis.json; --trust HEIGHT:HASH names a block to trust instead",
            )
        })?;
        return Trusted::genesis(&genesis)
            .map_err(|e| Failure::failed("genesis_malformed", e.to_string()));
    };
    let height = checkpoint.height;
    let (client, block) = sources.fetch(height)?;
    let trusted = Trusted::block(checkpoint, block)
        .map_err(|e| falsehood(client, &format!("height {height}: {e}")))?;
    if genesis.is_ok_and(|genesis| genesis.chain_id() != trusted.chain()) {
        let message = "the trusted block is of another chain than genesis.json";
        return Err(Failure::new(Exit::Disagreement, "other_chain", message));
    }
    Ok(trusted)
}

/// Follows the headers to a height, and says who gave the last one.
fn followed<'a>(
    sources: &Sources<'a>,
    trusted: Trusted,
    height: Height,
    clock: &Clock,
) -> Result<(&'a str, Followed)> {
    let mut givers: BTreeMap<Height, &Client> = BTreeMap::new();
    let mut fetch = |height: Height| {
        let (client, block) = sources.fetch(height)?;
        givers.insert(height, client);
        if block.header.height != height {
            return Err(falsehood(client, "it answered with another height"));
        }
        Ok((client, block))
    };
    let (first, target) = fetch(height)?;
    let followed = follow(trusted, target, clock, |height| Ok(fetch(height)?.1));
    let followed = followed.map_err(|error: FollowError<Failure>| match error {
        FollowError::Fetch { source, .. } if source.exit == Exit::Disagreement => source,
        FollowError::Fetch { height, source } => Failure {
            message: format!(
                "the header of height {height} is needed to go on, and no node gives it: {}",
                source.message
            ),
            help: "ask a node that keeps more with --node, or trust a newer block with --trust"
                .into(),
            ..source
        },
        FollowError::Expired { .. } => Failure::new(
            Exit::Disagreement,
            "trust_expired",
            error.to_string(),
        )
        .help("--trust HEIGHT:HASH names a newer block, --trusting-period says how old one may be"),
        error => {
            let of = match error {
                FollowError::Light { height, .. } | FollowError::FromFuture { height, .. } => {
                    height
                }
                _ => height,
            };
            let giver = givers.get(&of).copied().unwrap_or(first);
            falsehood(giver, &error.to_string())
        }
    })?;
    Ok((first.name(), followed))
}

fn falsehood(client: &Client, why: &str) -> Failure {
    let message = format!(
        "the chain that {} shows does not verify: {why}",
        client.name()
    );
    Failure::new(Exit::Disagreement, "verification_failed", message)
        .help("ask another node; `tintype verify roots` shows whether they agree")
}

fn forked(report: &Report, first: &str, second: &str, other: BlockHash) -> Failure {
    let message = format!(
        "the chain has forked at or below height {}: {first} has {}, {second} has {other}, and both are certified",
        report.to, report.hash
    );
    Failure::new(Exit::Disagreement, "forked", message)
        .help("a third of the validators has signed both: no node's word is worth anything until it is known why")
        .with_found(&Report {
            verified: false,
            ..report.clone()
        })
}

fn text(report: &Report) -> String {
    let row = |node: &Witness| {
        let hash = node.hash.map(|hash| hash.to_string());
        vec![
            node.name.clone(),
            or_dash(hash),
            node.why.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<Vec<String>> = report.nodes.iter().map(row).collect();
    format!(
        "{}{}",
        fields(&[
            ("from", grouped(report.from.0)),
            ("to", grouped(report.to.0)),
            ("block", report.hash.to_string()),
            ("headers checked", grouped(report.headers_checked)),
            ("validators changed", grouped(report.validator_set_changes)),
            ("verified", "yes: every header checked is certified".into()),
        ]),
        table(&["NODE", "BLOCK", ""], &rows)
    )
}

#[cfg(test)]
mod tests;
