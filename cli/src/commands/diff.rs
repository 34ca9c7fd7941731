//! `tintype diff`: in which entries the states of two nodes differ, and whose is the chain's.

use crate::{
    api,
    client::Client,
    context::Context,
    differences::Differences,
    evidence::Checker,
    failure::{Exit, Failure, Result},
    names::Names,
    table::short,
};
use clap::Args;
use ledger::{
    codec,
    hash::StateRoot,
    state::tree::{Part, PlaceRange, Prefix, RANGE_PROOF_BYTES_MAX, RangeProof},
    units::Height,
};
use serde::{Serialize, de::DeserializeOwned};
use snapshot::pinpoint::{Claimed, Holder, Lie, decode_parts, pinpoint};
use std::{cell::Cell, time::Duration};

/// How long a node may take to say how it is.
const STATUS_LIMIT: Duration = Duration::from_secs(5);

/// `tintype diff ...`
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// A node, by name or URL
    #[arg(value_name = "NODE")]
    left: String,
    /// The other one
    #[arg(value_name = "NODE")]
    right: String,
    /// The height [default: the latest at which one noticed that somebody differs, else the highest that both have]
    #[arg(long, value_name = "H")]
    height: Option<u64>,
}

/// A node's state, of which the node says what it likes.
struct OnNode {
    client: Client,
    height: Cell<Height>,
    messages: Cell<u64>,
}

/// How two nodes compare.
#[derive(Debug, Serialize)]
struct Report {
    height: Height,
    equal: bool,
    /// How often the two were asked for anything of their states.
    messages: u64,
    /// The root in the chain's certified header, if the nodes differ and one of them shows it.
    certified: Option<StateRoot>,
    left: Side,
    right: Side,
    #[serde(flatten)]
    differences: Differences,
}

/// One of the two.
#[derive(Debug, Serialize)]
struct Side {
    name: String,
    root: StateRoot,
}

/// Compares two nodes.
///
/// # Errors
/// Exit code 4 if they differ, or one contradicts itself.
pub fn run(context: &Context, args: &DiffArgs) -> Result {
    let left = context.named(&args.left)?;
    let right = context.named(&args.right)?;
    let heights = heights(&left, &right, args.height.map(Height))?;
    let (left, right) = (OnNode::of(left), OnNode::of(right));
    let [old, new] = roots(&left, &right, &heights)?;
    let height = left.height.get();
    let mut report = Report {
        height,
        equal: old == new,
        messages: 0,
        certified: None,
        left: left.side(old),
        right: right.side(new),
        differences: Differences::default(),
    };
    if report.equal {
        report.messages = left.messages.get() + right.messages.get();
        context.out.result(&report, || report.text());
        return Ok(());
    }
    for node in [&left, &right] {
        let checker = Checker::new(&context.dir, &node.client, None)?;
        report.certified = report.certified.or_else(|| checker.root(height));
    }
    let names = Names::of(&context.dir);
    let claimed = |root, holder| Claimed { root, holder };
    let found = pinpoint(&claimed(old, &left), &claimed(new, &right), |difference| {
        report.differences.see(&difference, &names);
    });
    report.messages = left.messages.get() + right.messages.get();
    let differ = format!("{} and {} differ at height {height}", args.left, args.right);
    let failure = match found {
        Ok(()) => {
            if !context.out.is_json() {
                context.out.text(&report.text());
            }
            Failure::new(Exit::Disagreement, "states_differ", differ)
                .help("`tintype verify ledger NAME` finds out whether a node's blocks are whole; started again, it builds its state anew")
        }
        Err(failure) if failure.code == "pruned" => {
            let message = format!(
                "{differ}, and in what is not known any more: {}",
                failure.message
            );
            Failure::new(Exit::Disagreement, "states_differ", message).help(failure.help)
        }
        Err(failure) => failure,
    };
    Err(failure.with_found(&report))
}

/// The heights to compare two nodes at, the best first: those at which they noticed that somebody differs, the latest
/// before others, and the highest that both have.
fn heights(left: &Client, right: &Client, said: Option<Height>) -> Result<Vec<Height>> {
    let [left, right] = [left.status(STATUS_LIMIT)?, right.status(STATUS_LIMIT)?];
    if left.chain_id != right.chain_id {
        let message = format!("{} and {} are of different chains", left.name, right.name);
        return Err(Failure::failed("other_chain", message));
    }
    if let Some(without) = [&left, &right].into_iter().find(|s| s.state_root.is_none()) {
        let message = format!("{} has no state yet", without.name);
        return Err(Failure::failed("not_ready", message).help(
            "it is starting, or fetches a snapshot; ask again when its status shows a height",
        ));
    }
    if let Some(said) = said {
        return Ok(vec![said]);
    }
    let disputed = left.disputed.max(right.disputed);
    let other = left.disputed.min(right.disputed);
    let common = left.height.min(right.height);
    Ok(disputed.into_iter().chain(other).chain([common]).collect())
}

/// The roots of two nodes at the first height at which they differ, or at the last one that both know.
fn roots(left: &OnNode, right: &OnNode, heights: &[Height]) -> Result<[StateRoot; 2]> {
    let mut outcome = Err(Failure::not_found("there is no height to compare"));
    for height in heights {
        left.height.set(*height);
        right.height.set(*height);
        outcome = left.root().and_then(|left| Ok([left, right.root()?]));
        if outcome.as_ref().is_ok_and(|[left, right]| left != right) {
            break;
        }
    }
    outcome
}

impl OnNode {
    fn of(client: Client) -> Self {
        Self {
            client,
            height: Cell::default(),
            messages: Cell::default(),
        }
    }

    fn side(&self, root: StateRoot) -> Side {
        let name = self.client.name().to_owned();
        Side { name, root }
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.messages.set(self.messages.get() + 1);
        self.client.get(path)
    }

    fn root(&self) -> Result<StateRoot> {
        let answer: api::Root = self.get(&format!("/v1/roots/{}", self.height.get()))?;
        Ok(answer.root)
    }

    fn contradicts(&self, why: &dyn std::fmt::Display) -> Failure {
        let (name, height) = (self.client.name(), self.height.get());
        let message =
            format!("{name} contradicts what it says of its state at height {height}: {why}");
        Failure::new(Exit::Disagreement, "verification_failed", message)
            .help("it is broken, or it lies; compare the other one with a third node")
    }

    fn bytes(&self, hex: &str) -> Result<Vec<u8>> {
        hex::decode(hex).map_err(|e| self.contradicts(&e))
    }
}

impl Holder for OnNode {
    type Error = Failure;

    fn parts(&self, below: &Prefix) -> Result<Vec<Part>> {
        let (height, prefix, bits) = (self.height.get(), below.bits(), below.bit_count());
        let path = format!("/v1/states/{height}/parts?prefix={prefix}&bits={bits}");
        let answer: api::StateParts = self.get(&path)?;
        let bytes = self.bytes(&answer.parts_hex)?;
        decode_parts(&bytes).map_err(|e| self.contradicts(&e))
    }

    fn entries(&self, PlaceRange { from, to }: PlaceRange) -> Result<RangeProof> {
        let height = self.height.get();
        let path = format!("/v1/states/{height}/entries?from={from}&to={to}");
        let answer: api::StateRange = self.get(&path)?;
        let bytes = self.bytes(&answer.proof)?;
        codec::decode(&bytes, RANGE_PROOF_BYTES_MAX).map_err(|e| self.contradicts(&e))
    }

    fn lied(&self, lie: Lie) -> Failure {
        self.contradicts(&lie)
    }
}

impl Report {
    fn text(&self) -> String {
        let Self { left, right, .. } = self;
        let height = self.height;
        if self.equal {
            let root = left.root;
            return format!(
                "{} and {} agree at height {height}: state root {root}\n",
                left.name, right.name
            );
        }
        let whose = |side: &Side| match self.certified {
            Some(root) if root == side.root => "the chain's",
            Some(_) => "not the chain's",
            None => "nobody shows whether the chain's",
        };
        let [left, right] =
            [left, right].map(|s| format!("{} ({}, {})", s.name, short(&s.root), whose(s)));
        let counts = self.differences.counts();
        format!(
            "height {height}: {left} and {right}: {counts}\n{}",
            self.differences.table()
        )
    }
}
