//! The table of a testnet, once or live.

use super::status::{NodeStatus, Poller, State, TestnetStatus};
use crate::{
    failure::Result,
    output::Output,
    table::{grouped, or_dash, short, table, visible},
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

/// The same where there is less room: nothing is left out, and the height of the agreement stands below.
const HEADS_NARROW: [&str; 9] = [
    "NODE", "STATE", "HTTP", "PEERS", "HEIGHT", "TXS", "ROOT", "SNAP", "AGREE",
];

/// The table as text.
fn render(status: &TestnetStatus) -> String {
    let rows: Vec<Vec<String>> = status.nodes.iter().map(|node| row(node, status)).collect();
    with_alarms(table(&HEADS, &rows), status)
}

/// The table as text, for a terminal as wide as it is, or for a file.
pub fn render_for(out: Output, status: &TestnetStatus) -> String {
    match out.columns() {
        Some(columns) => render_within(status, columns),
        None => render(status),
    }
}

/// The table as text, narrower if it would not fit into so many columns.
fn render_within(status: &TestnetStatus, columns: usize) -> String {
    let wide = render(status);
    if wide.lines().all(|line| line.chars().count() <= columns) {
        return wide;
    }
    let rows: Vec<Vec<String>> = status.nodes.iter().map(|n| row_narrow(n, status)).collect();
    let mut text = table(&HEADS_NARROW, &rows);
    if let Some(a) = &status.agreement {
        let word = if a.agree { "agree" } else { "DIFFER" };
        let height = grouped(a.height.0);
        text.push_str(&format!("{} nodes {word} at height {height}\n", a.nodes));
    }
    with_alarms(text, status)
}

fn with_alarms(mut text: String, status: &TestnetStatus) -> String {
    for node in &status.nodes {
        if let Some(alarm) = &node.alarm {
            text.push_str(&format!("ALARM  {}: {}\n", node.name, visible(alarm)));
        }
    }
    text
}

fn row(node: &NodeStatus, status: &TestnetStatus) -> Vec<String> {
    let role = match (node.validator, node.voting, node.spaces.len()) {
        (false, _, 0) => " (follows)".to_owned(),
        (false, _, 1) => " (follows a space)".to_owned(),
        (false, _, count) => format!(" (follows {count} spaces)"),
        (true, false, _) if node.state == State::Running && node.alarm.is_none() => {
            " (no vote yet)".to_owned()
        }
        (true, _, _) => String::new(),
    };
    let state = match &node.sync {
        Some(sync) if node.state == State::Running => {
            match (sync.bytes_done * 100).checked_div(sync.bytes_total) {
                Some(percent) => format!("syncing {percent}%"),
                // Block by block.
                None => format!(
                    "syncing {}/{}",
                    node.height.unwrap_or_default(),
                    sync.height
                ),
            }
        }
        _ => format!("{}{role}", node.state.name()),
    };
    let running = node.state == State::Running;
    let agreement = match (&status.agreement, &node.alarm) {
        (_, Some(_)) => "ALARM".into(),
        _ if node.stands_still_seconds.is_some() => {
            let seconds = node.stands_still_seconds.unwrap_or_default();
            format!("no block for {seconds} s")
        }
        (Some(a), None) if node.follows() && a.nodes > 1 => {
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

fn row_narrow(node: &NodeStatus, status: &TestnetStatus) -> Vec<String> {
    let mut cells = row(node, status);
    let agreement = match (&status.agreement, &node.alarm) {
        (_, Some(_)) => "ALARM",
        _ if node.stands_still_seconds.is_some() => "STILL",
        (Some(a), None) if node.follows() && a.nodes > 1 => {
            if a.agree {
                "yes"
            } else {
                "NO"
            }
        }
        _ => "-",
    };
    let quiet = node.state == State::Running && node.sync.is_none() && node.alarm.is_none();
    let short_role = match (node.validator, node.voting) {
        (false, _) if quiet => Some("follows"),
        (true, false) if quiet => Some("no vote"),
        _ => None,
    };
    let changed = [
        (1, short_role.map(str::to_owned)),
        (
            2,
            node.http
                .as_ref()
                .map(|url| url.trim_start_matches("http://").to_owned()),
        ),
        (6, node.state_root.map(|root| format!("{root:.8}"))),
        (7, node.snapshot.map(|s| grouped(s.height.0))),
        (8, Some(agreement.to_owned())),
    ];
    for (at, text) in changed {
        if let (Some(cell), Some(text)) = (cells.get_mut(at), text) {
            *cell = text;
        }
    }
    cells
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
            let width = out.columns().unwrap_or(usize::MAX);
            let text = format!("{}{footer}\n", render_within(&status, width));
            let cut: Vec<String> = text
                .lines()
                .map(|line| console::truncate_str(line, width, "…").into_owned())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testnet::status::{Agreement, SnapshotHead};
    use ledger::{
        hash::{ChainId, StateRoot},
        units::Height,
    };

    fn status() -> TestnetStatus {
        let root = StateRoot([0xab; 32]);
        let height = Height(123_456);
        let node = |index: u16, validator| NodeStatus {
            http: Some(format!("http://127.0.0.1:{}", 26_001 + index)),
            peers: 4,
            voting: validator,
            height: Some(height),
            state_root: Some(root),
            snapshot: Some(SnapshotHead { height, root }),
            ..NodeStatus::silent(&format!("node{index}"), State::Running, validator)
        };
        TestnetStatus {
            chain_id: ChainId([1; 32]),
            dir: "testnet".into(),
            agreement: Some(Agreement {
                height,
                root: Some(root),
                agree: true,
                nodes: 2,
            }),
            nodes: vec![node(0, true), node(1, false)],
        }
    }

    #[test]
    fn nothing_is_left_out_on_a_terminal_of_80_columns() {
        let text = render_within(&status(), 79);
        for line in text.lines() {
            assert!(line.chars().count() <= 79, "{line}");
        }
        let cells = ["127.0.0.1:26001", "123,456", "abababab", "yes", "follows"];
        for cell in cells {
            assert!(text.contains(cell), "{cell} is not in\n{text}");
        }
        assert!(text.contains("2 nodes agree at height 123,456"), "{text}");
        assert_eq!(render_within(&status(), 200), render(&status()));
    }

    #[test]
    fn a_node_that_catches_up_agrees_with_nobody_yet_and_says_how_far_it_is() {
        let mut status = status();
        let sync = crate::api::SyncProgress {
            bytes_per_second: 0,
            seconds_left: None,
            mode: "blocks".into(),
            height: Height(1245),
            chunks_done: 0,
            chunks_total: 0,
            bytes_done: 0,
            bytes_total: 0,
            peers: 3,
        };
        status.nodes[1].height = Some(Height(1103));
        status.nodes[1].sync = Some(sync.clone());
        for text in [render(&status), render_within(&status, 79)] {
            let row = text.lines().nth(2).unwrap();
            assert!(row.contains("syncing 1103/1245"), "{text}");
            assert!(row.ends_with('-'), "{text}");
        }
        status.nodes[1].sync = Some(crate::api::SyncProgress {
            bytes_done: 30,
            bytes_total: 120,
            ..sync
        });
        assert!(render(&status).contains("syncing 25%"));
    }
}
