//! The table of a testnet, once or live.

use super::status::{NodeStatus, Poller, State, TestnetStatus};
use crate::{
    failure::Result,
    output::Output,
    table::{grouped, or_dash, short, table},
};
use std::time::{Duration, Instant};

/// How often the live table is drawn anew.
const INTERVAL: Duration = Duration::from_millis(500);
/// How often it is looked whether to stop.
const STEP: Duration = Duration::from_millis(50);

const HEADS: [&str; 9] = [
    "NODE",
    "STATE",
    "HTTP",
    "PEERS",
    "HEIGHT",
    "TXS",
    "STATE-ROOT",
    "SNAPSHOT",
    "AGREEMENT",
];

/// The table as text.
pub fn render(status: &TestnetStatus) -> String {
    let rows: Vec<Vec<String>> = status.nodes.iter().map(|node| row(node, status)).collect();
    let mut text = table(&HEADS, &rows);
    for node in &status.nodes {
        if let Some(alarm) = &node.alarm {
            text.push_str(&format!("ALARM  {}: {alarm}\n", node.name));
        }
    }
    text
}

fn row(node: &NodeStatus, status: &TestnetStatus) -> Vec<String> {
    let role = if node.validator { "" } else { " (follows)" };
    let state = match &node.sync {
        Some(sync) if node.state == State::Running => {
            let percent = (sync.bytes_done * 100).checked_div(sync.bytes_total);
            format!("syncing {}%", percent.unwrap_or(0))
        }
        _ => format!("{}{role}", node.state.name()),
    };
    let running = node.state == State::Running;
    let agreement = match (&status.agreement, &node.alarm) {
        (_, Some(_)) => "ALARM".into(),
        (Some(a), None) if running && a.nodes > 1 => {
            let word = if a.agree { "agrees" } else { "DIFFERS" };
            format!("{word} at {}", a.height)
        }
        _ => "-".into(),
    };
    vec![
        node.name.clone(),
        state,
        or_dash(node.http.as_deref()),
        if running {
            node.peers.to_string()
        } else {
            "-".into()
        },
        or_dash(node.height.map(|h| grouped(h.0))),
        if running {
            grouped(node.transactions)
        } else {
            "-".into()
        },
        or_dash(node.state_root.map(|root| short(&root))),
        or_dash(node.snapshot.map(|s| format!("{} {:.8}", s.height, s.root))),
        agreement,
    ]
}

/// Shows the testnet until `is_over`: drawn in place on a terminal; elsewhere the table whenever something but the
/// height changed, and with `--json` a document whenever anything did.
///
/// # Errors
/// If the folder cannot be read any more.
pub fn watch(
    out: Output,
    poller: &mut Poller,
    footer: &str,
    mut is_over: impl FnMut() -> bool,
) -> Result {
    let mut lines_drawn = 0;
    let mut last: Option<TestnetStatus> = None;
    while !is_over() {
        let status = poller.poll()?;
        if out.is_live() {
            let width = usize::from(console::Term::stdout().size().1).max(20);
            let text = format!("{}{footer}\n", render(&status));
            let cut: Vec<String> = text
                .lines()
                .map(|line| console::truncate_str(line, width - 1, "…").into_owned())
                .collect();
            out.redraw(lines_drawn, &cut.join("\n"));
            lines_drawn = cut.len();
        } else if out.is_json() {
            if last.as_ref() != Some(&status) {
                out.document(&status);
            }
        } else if last.as_ref().map(gist) != Some(gist(&status)) {
            out.text(&render(&status));
        }
        last = Some(status);
        let next = Instant::now() + INTERVAL;
        while Instant::now() < next && !is_over() {
            std::thread::sleep(STEP);
        }
    }
    Ok(())
}

/// What makes a line worth printing where nothing can be drawn over.
fn gist(status: &TestnetStatus) -> Vec<(String, State, bool, bool, Option<u64>)> {
    let agree = status.agreement.as_ref().is_none_or(|a| a.agree);
    status
        .nodes
        .iter()
        .map(|n| {
            let snapshot = n.snapshot.map(|s| s.height.0);
            (n.name.clone(), n.state, agree, n.alarm.is_some(), snapshot)
        })
        .collect()
}
