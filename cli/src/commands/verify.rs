//! `tintype verify`: do the nodes agree, is a ledger whole, is the chain what the genesis began.

mod answer;
mod chain;

use crate::{
    api,
    client::Client,
    context::Context,
    failure::{Exit, Failure, Result},
    table::{fields, or_dash, table},
    testnet::{
        Member,
        process::{Life, life},
        status::agreed,
    },
};
use ::node::{audit::verify_ledger, config::NodeDir};
use clap::Subcommand;
use ledger::{hash::StateRoot, units::Height};
use serde::Serialize;
use std::path::Path;

/// `tintype verify ...`
#[derive(Debug, Subcommand)]
pub enum VerifyCommand {
    /// Compare the state roots of all nodes that run at one height
    Roots {
        /// The height [default: the highest that all have]
        #[arg(long, value_name = "H")]
        height: Option<u64>,
    },
    /// Follow certificates and changes of validators from the genesis, or from a trusted block, to the newest block
    Chain(chain::ChainArgs),
    /// Check a saved answer of a node offline: `query ... --json --proof`, or the HTTP API's with `?proof=true`
    Answer(answer::AnswerArgs),
    /// Walk a node's block log and check every hash, signature, certificate and root
    Ledger {
        /// A node's name or folder
        ledger: String,
    },
}

/// The roots of all nodes at one height.
#[derive(Clone, Debug, Serialize)]
pub struct Roots {
    /// The height.
    pub height: Height,
    /// Whether they agree.
    pub agree: bool,
    /// The root, if they do.
    pub root: Option<StateRoot>,
    /// Each node's.
    pub nodes: Vec<NodeRoot>,
    /// The nodes of the testnet that were not asked or did not answer.
    pub missing: Vec<String>,
}

/// A node's root.
#[derive(Clone, Debug, Serialize)]
pub struct NodeRoot {
    /// The node.
    pub name: String,
    /// Its root; none if it no longer or not yet has the height.
    pub root: Option<StateRoot>,
    /// Why there is none.
    pub why: Option<String>,
}

/// What was found in a ledger.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LedgerReport {
    /// Blocks checked.
    pub blocks: u64,
    /// The first height.
    pub from: u64,
    /// The last height.
    pub to: u64,
    /// The first height that was executed; none if there was no state to begin from.
    pub executed_from: Option<u64>,
    /// What could not be checked, and why.
    pub unchecked: Vec<String>,
    /// Whether all that could be checked is as it should be.
    pub ok: bool,
    /// The first fault, with its place.
    pub error: Option<String>,
}

/// Does what was typed.
///
/// # Errors
/// Exit code 4 if nodes differ or a ledger has a fault.
pub fn run(context: &Context, command: &VerifyCommand) -> Result {
    match command {
        VerifyCommand::Roots { height } => verify_roots(context, height.map(Height)),
        VerifyCommand::Chain(args) => chain::run(context, args),
        VerifyCommand::Answer(args) => answer::run(context, args),
        VerifyCommand::Ledger { ledger } => verify_node(context, ledger),
    }
}

fn verify_roots(context: &Context, height: Option<Height>) -> Result {
    let mut roots = compare(&context.clients()?, height)?;
    let absent = absent(context, &roots)?;
    roots.missing = absent.iter().map(|(name, _)| name.clone()).collect();
    let text = |roots: &Roots| text(roots, &absent);
    if !roots.agree {
        let message = format!("the nodes differ at height {}", roots.height);
        if !context.out.is_json() {
            context.out.text(&text(&roots));
        }
        return Err(Failure::new(Exit::Disagreement, "roots_differ", message)
            .help("`tintype testnet status` shows alarms; `tintype verify ledger NAME` finds the fault")
            .with_found(&roots));
    }
    context.out.result(&roots, || text(&roots));
    Ok(())
}

/// The nodes of the testnet that have no part in a comparison, and why. If one node was named, only that one was meant.
fn absent(context: &Context, roots: &Roots) -> Result<Vec<(String, &'static str)>> {
    if context.node.is_some() {
        return Ok(Vec::new());
    }
    let mut members = context.members()?;
    members.retain(|member| roots.nodes.iter().all(|node| node.name != member.name));
    let why = |member: &Member| match life(member) {
        Life::Stopped => "stopped",
        Life::Paused => "paused",
        Life::Running => "does not answer",
    };
    let absent = members.into_iter().map(|member| {
        let why = why(&member);
        (member.name, why)
    });
    Ok(absent.collect())
}

fn text(roots: &Roots, absent: &[(String, &str)]) -> String {
    let mut rows: Vec<Vec<String>> = roots
        .nodes
        .iter()
        .map(|n| match n.root {
            Some(root) => vec![n.name.clone(), root.to_string()],
            None => vec![
                n.name.clone(),
                "-".into(),
                n.why.clone().unwrap_or_default(),
            ],
        })
        .collect();
    rows.extend(
        absent
            .iter()
            .map(|(name, why)| vec![name.clone(), "-".into(), (*why).into()]),
    );
    let have_it = roots.nodes.iter().filter(|n| n.root.is_some()).count();
    let verdict = if !roots.agree {
        "THEY DIFFER".into()
    } else if have_it == 1 {
        "one node was asked, and there is nothing to compare its root with".into()
    } else if have_it < rows.len() {
        format!(
            "{have_it} of {} nodes agree, the others have no say",
            rows.len()
        )
    } else {
        "all agree".to_owned()
    };
    format!(
        "height {}: {verdict}\n{}",
        roots.height,
        table(&["NODE", "STATE-ROOT", ""], &rows)
    )
}

/// Asks every node for its root at one height, the highest that all have if none is given. Nodes that do not answer at
/// all are passed over; that one answers is needed.
///
/// # Errors
/// Exit code 5 if no node answers, 3 if none has the height.
pub fn compare(clients: &[Client], height: Option<Height>) -> Result<Roots> {
    let limit = std::time::Duration::from_secs(3);
    let mut answering = Vec::new();
    let mut last = None;
    for client in clients {
        match client.status(limit) {
            Ok(status) => answering.push((client, status)),
            Err(failure) => last = Some(failure),
        }
    }
    let following = answering
        .iter()
        .filter(|(_, status)| status.spaces.is_empty() && (status.ready || status.sync.is_none()));
    let common = following.map(|(_, status)| status.height).min();
    let Some(height) = height.or(common) else {
        let nobody = Failure::new(Exit::Unreachable, "unreachable", "no node answers");
        return Err(last.unwrap_or(nobody));
    };
    let mut nodes = Vec::new();
    for (client, _) in &answering {
        let name = client.name().to_owned();
        nodes.push(
            match client.get::<api::Root>(&format!("/v1/roots/{height}")) {
                Ok(answer) => NodeRoot {
                    name,
                    root: Some(answer.root),
                    why: None,
                },
                Err(failure) => NodeRoot {
                    name,
                    root: None,
                    why: Some(failure.message),
                },
            },
        );
    }
    let known: Vec<StateRoot> = nodes.iter().filter_map(|n| n.root).collect();
    if known.is_empty() {
        let why = nodes.iter().find_map(|n| n.why.clone()).unwrap_or_default();
        return Err(
            Failure::not_found(format!("no node has the root of height {height}: {why}"))
                .help("`tintype testnet status` shows the heights; old ones are not kept for ever"),
        );
    }
    let root = agreed(&known);
    Ok(Roots {
        height,
        agree: root.is_some(),
        root,
        nodes,
        missing: Vec::new(),
    })
}

fn verify_node(context: &Context, text: &str) -> Result {
    let dir = if Path::new(text).join("tintype.toml").is_file() {
        NodeDir::new(text)
    } else {
        context.testnet()?.member(text)?.dir
    };
    let bar = if context.out.has_progress() {
        indicatif::ProgressBar::new(0)
    } else {
        indicatif::ProgressBar::hidden()
    };
    let progress = |done: u64, total: u64| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let report = audited(&dir, &progress);
    bar.finish_and_clear();
    let report = report?;
    if let Some(error) = &report.error {
        return Err(
            Failure::new(Exit::Disagreement, "ledger_fault", error.clone())
                .help("the node fetches what is missing when its ledger folder is moved away")
                .with_found(&report),
        );
    }
    context.out.result(&report, || text_of(&report));
    Ok(())
}

fn text_of(report: &LedgerReport) -> String {
    let result = if report.blocks == 0 {
        "there was no block to check"
    } else if report.unchecked.is_empty() {
        "every hash, signature, certificate and root holds"
    } else {
        "all that could be checked holds"
    };
    let mut rows = vec![
        ("blocks", report.blocks.to_string()),
        ("heights", format!("{} to {}", report.from, report.to)),
        (
            "executed from",
            or_dash(report.executed_from.map(|height| height.to_string())),
        ),
        ("result", result.into()),
    ];
    let unchecked = report.unchecked.iter();
    rows.extend(unchecked.map(|what| ("not checked", what.clone())));
    fields(&rows)
}

/// The node's audit, in the words of this command.
fn audited(dir: &NodeDir, progress: &dyn Fn(u64, u64)) -> Result<LedgerReport> {
    let report = verify_ledger(dir, progress)
        .map_err(|e| Failure::failed("ledger_unreadable", e.to_string()))?;
    Ok(LedgerReport {
        blocks: report.blocks,
        from: report.from.0,
        to: report.to.0,
        executed_from: report.executed_from.map(|height| height.0),
        unchecked: report.unchecked,
        ok: report.fault.is_none(),
        error: report.fault.map(|fault| fault.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> Roots {
        let root = Some(StateRoot([1; 32]));
        let node = |name: &&str| NodeRoot {
            name: (*name).into(),
            root,
            why: None,
        };
        Roots {
            height: Height(7),
            agree: true,
            root,
            nodes: names.iter().map(node).collect(),
            missing: Vec::new(),
        }
    }

    #[test]
    fn of_a_ledger_without_blocks_nothing_is_claimed() {
        let empty = text_of(&LedgerReport::default());
        assert!(
            empty.contains("no block to check") && !empty.contains("holds"),
            "{empty}"
        );
    }

    #[test]
    fn only_when_all_were_asked_do_all_agree() {
        let all = text(&of(&["node0", "node1"]), &[]);
        assert!(all.starts_with("height 7: all agree\n"), "{all}");
        let some = text(&of(&["node0", "node1"]), &[("node3".into(), "stopped")]);
        assert!(some.contains("2 of 3 nodes agree"), "{some}");
        let row = some.lines().last().unwrap().split_whitespace();
        assert_eq!(row.collect::<Vec<_>>(), ["node3", "-", "stopped"]);
        let one = text(&of(&["http://127.0.0.1:26001"]), &[]);
        assert!(
            one.contains("one node was asked") && !one.contains("agree"),
            "{one}"
        );
    }
}
