//! What the nodes of a testnet say of themselves, and whether they agree.

use super::{
    Member, Testnet,
    process::{Life, life},
};
use crate::{
    api::{self, Origin, SyncProgress},
    client::Client,
    failure::Result,
};
use ledger::{
    hash::{BlockHash, ChainId, StateRoot},
    units::Height,
};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// How long a node may take to say how it is.
const ANSWER_LIMIT: Duration = Duration::from_millis(1500);

/// A testnet at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TestnetStatus {
    /// The chain.
    pub chain_id: ChainId,
    /// The folder.
    pub dir: String,
    /// Whether those that answer agree; none if nobody does.
    pub agreement: Option<Agreement>,
    /// Every node.
    pub nodes: Vec<NodeStatus>,
}

/// Whether nodes have one state root at one height.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// The highest that all of them have reached.
    pub height: Height,
    /// The root; none if they differ.
    pub root: Option<StateRoot>,
    /// Whether they agree.
    pub agree: bool,
    /// How many were asked and answered.
    pub nodes: usize,
}

/// Which snapshot is a node's newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SnapshotHead {
    /// Its height.
    pub height: Height,
    /// The state root.
    pub root: StateRoot,
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It answers.
    Running,
    /// It is stopped by a signal.
    Paused,
    /// There is no process.
    Stopped,
    /// There is a process that does not answer.
    Unreachable,
}

impl State {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Unreachable => "unreachable",
        }
    }
}

/// A node at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// Its process.
    pub pid: Option<u32>,
    /// What it does.
    pub state: State,
    /// Whether it is a validator.
    pub validator: bool,
    /// Whether it votes: not one that was wiped and does not know yet what it has signed.
    pub voting: bool,
    /// Whether it follows the chain.
    pub ready: bool,
    /// Where its API is.
    pub http: Option<String>,
    /// Where peers dial it.
    pub p2p: Option<String>,
    /// Peers it is connected to.
    pub peers: u64,
    /// Its last committed height.
    pub height: Option<Height>,
    /// The block of that height.
    pub block_hash: Option<BlockHash>,
    /// Transactions in it.
    pub transactions: u64,
    /// The state root after it.
    pub state_root: Option<StateRoot>,
    /// Its newest snapshot.
    pub snapshot: Option<SnapshotHead>,
    /// What it started from, and why.
    pub origin: Option<Origin>,
    /// How far its sync is.
    pub sync: Option<SyncProgress>,
    /// Its alarm.
    pub alarm: Option<String>,
    /// A height at which somebody has another state than it: `tintype diff` finds out in what they differ.
    pub disputed: Option<Height>,
    /// For how long no block has become final there, if that is longer than any pause of an idle chain.
    pub stands_still_seconds: Option<u64>,
    /// The spaces that it follows; empty if it follows the whole chain.
    pub spaces: Vec<String>,
}

impl NodeStatus {
    /// A node of which no more is known than what it does.
    pub(super) fn silent(name: &str, state: State, validator: bool) -> Self {
        Self {
            name: name.to_owned(),
            pid: None,
            state,
            validator,
            voting: false,
            ready: false,
            http: None,
            p2p: None,
            peers: 0,
            height: None,
            block_hash: None,
            transactions: 0,
            state_root: None,
            snapshot: None,
            origin: None,
            sync: None,
            alarm: None,
            disputed: None,
            stands_still_seconds: None,
            spaces: Vec::new(),
        }
    }

    /// Whether its root is compared with others': not while it catches up, nor of one that has the roots of snapshots alone.
    pub(super) fn follows(&self) -> bool {
        let caught_up = self.ready || self.sync.is_none();
        self.state == State::Running && self.spaces.is_empty() && caught_up
    }

    fn fill(&mut self, status: api::Status) {
        self.state = State::Running;
        self.validator = status.validator;
        self.voting = status.voting;
        self.ready = status.ready;
        self.peers = status.peers;
        self.height = Some(status.height);
        self.block_hash = status.block_hash;
        self.transactions = status.last_block_transactions;
        self.state_root = status.state_root;
        self.snapshot = status.snapshot.map(|snapshot| SnapshotHead {
            height: snapshot.height,
            root: snapshot.root,
        });
        self.origin = status.origin;
        self.sync = status.sync;
        self.alarm = status.alarm;
        self.disputed = status.disputed;
        self.stands_still_seconds = status.stands_still_seconds;
        self.spaces = status.spaces;
    }
}

/// Asks the nodes of a testnet again and again, over connections that stay open.
#[derive(Debug)]
pub struct Poller {
    testnet: Testnet,
    chain: ChainId,
    validators: Vec<String>,
    clients: BTreeMap<String, Client>,
}

impl Poller {
    /// For a testnet.
    ///
    /// # Errors
    /// If its genesis cannot be read.
    pub fn new(testnet: &Testnet) -> Result<Self> {
        let genesis = testnet.genesis()?;
        Ok(Self {
            testnet: testnet.clone(),
            chain: genesis.chain_id(),
            validators: genesis.validators.into_iter().map(|v| v.name).collect(),
            clients: BTreeMap::new(),
        })
    }

    /// Asks every node, all at once.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn poll(&mut self) -> Result<TestnetStatus> {
        let members = self.testnet.members()?;
        let asked: Vec<(NodeStatus, Option<Client>)> =
            members.iter().map(|member| self.begin(member)).collect();
        let nodes: Vec<(NodeStatus, Option<Client>)> = std::thread::scope(|scope| {
            let threads: Vec<_> = asked
                .into_iter()
                .map(|(mut node, client)| {
                    scope.spawn(move || {
                        if let Some(Ok(status)) = client.as_ref().map(|c| c.status(ANSWER_LIMIT)) {
                            node.fill(status);
                        }
                        (node, client)
                    })
                })
                .collect();
            threads
                .into_iter()
                .filter_map(|thread| thread.join().ok())
                .collect()
        });
        let agreement = agreement(&nodes);
        Ok(TestnetStatus {
            chain_id: self.chain,
            dir: self.testnet.dir().display().to_string(),
            agreement,
            nodes: nodes.into_iter().map(|(node, _)| node).collect(),
        })
    }

    /// What is known of a node without asking it, and whom to ask.
    fn begin(&mut self, member: &Member) -> (NodeStatus, Option<Client>) {
        let state = match life(member) {
            Life::Stopped => State::Stopped,
            Life::Paused => State::Paused,
            Life::Running => State::Unreachable,
        };
        let validator = self.validators.contains(&member.name);
        let mut node = NodeStatus::silent(&member.name, state, validator);
        let info = member.dir.run_info().filter(|_| state != State::Stopped);
        let Some(info) = info else {
            return (node, None);
        };
        node.pid = Some(info.pid);
        node.http = Some(info.http.clone());
        node.p2p = Some(info.p2p);
        if state == State::Paused {
            return (node, None);
        }
        let known = self
            .clients
            .get(&member.name)
            .filter(|c| c.url() == info.http)
            .cloned();
        let client = known.unwrap_or_else(|| Client::new(&member.name, &info.http));
        self.clients.insert(member.name.clone(), client.clone());
        (node, Some(client))
    }
}

/// Compares the roots of those that follow the chain at the highest height they all have.
fn agreement(nodes: &[(NodeStatus, Option<Client>)]) -> Option<Agreement> {
    let following: Vec<(&NodeStatus, &Client)> = nodes
        .iter()
        .filter(|(node, _)| node.follows())
        .filter_map(|(node, client)| client.as_ref().map(|c| (node, c)))
        .collect();
    let height = following.iter().filter_map(|(node, _)| node.height).min()?;
    let roots: Vec<StateRoot> = std::thread::scope(|scope| {
        let ask = |node: &NodeStatus, client: &Client| {
            if node.height == Some(height) {
                return node.state_root;
            }
            let root = client.get_within::<api::Root>(&format!("/v1/roots/{height}"), ANSWER_LIMIT);
            root.ok().map(|answer| answer.root)
        };
        let threads: Vec<_> = following
            .iter()
            .map(|(node, client)| scope.spawn(move || ask(node, client)))
            .collect();
        threads
            .into_iter()
            .filter_map(|t| t.join().ok().flatten())
            .collect()
    });
    Some(Agreement {
        height,
        root: agreed(&roots),
        agree: agreed(&roots).is_some(),
        nodes: roots.len(),
    })
}

/// The one root, if all are the same.
pub fn agreed(roots: &[StateRoot]) -> Option<StateRoot> {
    let first = roots.first()?;
    roots.iter().all(|root| root == first).then_some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_agree_when_all_are_one() {
        let (a, b) = (StateRoot([1; 32]), StateRoot([2; 32]));
        assert_eq!(agreed(&[a, a]), Some(a));
        assert_eq!(agreed(&[a, b]), None);
        assert_eq!(agreed(&[]), None);
    }

    #[test]
    fn a_node_is_written_as_the_interface_says() {
        let node = NodeStatus::silent("node0", State::Stopped, true);
        let json = serde_json::to_value(node).unwrap();
        assert_eq!(json["state"], "stopped");
        for field in [
            "pid",
            "http",
            "p2p",
            "height",
            "block_hash",
            "state_root",
            "snapshot",
            "sync",
        ] {
            assert!(json[field].is_null(), "{field} of {json}");
        }
    }
}
