//! A network of replicas in one thread, from one seed: delays, losses, duplicates, crashes at any disk operation and
//! between any two effects, restarts that crash again, wiped folders, keys that run twice, strangers who forge.
//!
//! What it watches: no two replicas commit different blocks at one height; no key signs two votes or proposals for one
//! height, round and step; nothing that was said to be committed is lost; in the end all have one state root. The same
//! seed gives the same trace, so that each failure replays.

mod clients;
mod disk;
mod effects;
mod random;
mod world;

pub use random::Random;
pub use world::{Report, Violation, World};

use disk::Disk;
use ledger::{
    block::CommittedBlock,
    certificate::VoteKind,
    genesis::{Genesis, GenesisAccount, GenesisValidator, PROTOCOL_VERSION, Parameters},
    hash::{Address, BlockHash, Domain, Hash, Hasher, StateRoot, ValidatorSetHash},
    keys::SecretKey,
    transaction::VerifiedTransaction,
    units::{Amount, Height, Nonce, Power, Round, TimestampMs},
};
use node::replica::{
    Config, ConsensusError, Input, Now, Replica, Timeouts, Voting, mempool::Limits,
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
    time::Duration,
};

/// Blocks that a peer sends at once.
const BLOCKS_AT_ONCE: usize = 16;
/// When the simulated wall clock starts.
const EPOCH_MS: u64 = 1_700_000_000_000;

enum Happening {
    Deliver(usize, Input),
    FetchBodies {
        asker: usize,
        of: usize,
        block: BlockHash,
        missing: Vec<ledger::hash::TxId>,
    },
    FetchBlocks {
        asker: usize,
        of: usize,
        height: Height,
    },
    Restart(usize),
    Heads(usize),
    Client,
    ValidatorsApprove,
}

struct Node {
    key: SecretKey,
    disk: Disk,
    replica: Option<Replica>,
    /// Timers of an earlier life do not fire in a later one.
    life: u64,
    acknowledged: Height,
}

type Position = (Address, Height, Round, Option<VoteKind>);

/// A network of replicas, and the world around it.
pub struct Simulation {
    world: World,
    random: Random,
    genesis: Genesis,
    now_us: u64,
    sequence: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, (u64, Happening)>,
    nodes: Vec<Node>,
    committed: BTreeMap<Height, (BlockHash, StateRoot)>,
    said: BTreeMap<Position, Hash>,
    /// The validators of the newest block.
    last_set: Option<ValidatorSetHash>,
    client: SecretKey,
    client_nonce: Nonce,
    trace: Hasher,
    report: Report,
}

fn key(index: usize) -> SecretKey {
    let mut seed = [0x5A; 32];
    seed[..8].copy_from_slice(&(index as u64).to_be_bytes());
    SecretKey::from_seed(seed)
}

/// A genesis for so many validators and one rich client.
pub fn genesis(validators: usize, client: &SecretKey) -> Genesis {
    let validator = |i: usize| GenesisValidator {
        name: format!("node{i}"),
        public_key: key(i).public_key(),
        power: Power(1),
    };
    let account = GenesisAccount {
        name: "alice".into(),
        address: client.address(),
        balance: Amount(1 << 40),
    };
    Genesis {
        protocol_version: PROTOCOL_VERSION,
        chain_name: "simulation".into(),
        time: TimestampMs(EPOCH_MS),
        parameters: Parameters::default(),
        validators: (0..validators).map(validator).collect(),
        accounts: vec![account],
        generated: None,
    }
}

impl Simulation {
    /// A network that has just been switched on.
    ///
    /// # Errors
    /// [`Violation`] if a replica does not start.
    pub fn new(world: World) -> Result<Self, Violation> {
        let client = key(1_000);
        // The twin comes last, so that the others have the numbers of their keys.
        let nodes = world.nodes + usize::from(world.twin);
        let node = |i| Node {
            key: key(i % world.nodes),
            disk: Disk::new(),
            replica: None,
            life: 0,
            acknowledged: Height::GENESIS,
        };
        let mut simulation = Self {
            random: Random::new(world.seed),
            genesis: genesis(world.nodes - world.joining, &client),
            now_us: 0,
            sequence: 0,
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            nodes: (0..nodes).map(node).collect(),
            committed: BTreeMap::new(),
            said: BTreeMap::new(),
            last_set: None,
            client,
            client_nonce: Nonce(0),
            trace: Hasher::new(Domain::Genesis),
            report: Report::default(),
            world,
        };
        for i in 0..nodes {
            simulation.restart(i)?;
            simulation.schedule(500_000, Happening::Heads(i));
        }
        simulation.schedule(0, Happening::Client);
        if world.joining > 0 {
            simulation.schedule(0, Happening::ValidatorsApprove);
        }
        Ok(simulation)
    }

    /// Runs until all honest nodes have committed `height`.
    ///
    /// # Errors
    /// [`Violation`]: what must never happen, or no end after `events_max` events.
    pub fn run(mut self, height: u64, events_max: u64) -> Result<Report, Violation> {
        let seed = self.world.seed;
        for _ in 0..events_max {
            let reached = |n: &Node| {
                n.replica
                    .as_ref()
                    .is_some_and(|r| r.state().height().0 >= height)
            };
            let honest = self
                .nodes
                .iter()
                .enumerate()
                .filter(|(i, _)| self.is_honest(*i));
            if honest.map(|(_, node)| node).all(reached) {
                return Ok(self.finish());
            }
            let Some(Reverse((at, sequence))) = self.queue.pop() else {
                break;
            };
            self.now_us = at;
            if let Some((life, happening)) = self.happenings.remove(&sequence) {
                self.happen(life, happening)?;
            }
        }
        let height_of = |n: &Node| n.replica.as_ref().map_or(0, |r| r.state().height().0);
        let heights = self.nodes.iter().map(height_of).collect();
        Err(Violation::Stalled {
            seed,
            events: events_max,
            heights,
        })
    }

    /// Whether a node is the only one that runs with its key.
    fn is_honest(&self, node: usize) -> bool {
        !self.world.twin || (node != 0 && node != self.world.nodes)
    }

    fn finish(mut self) -> Report {
        let honest = (0..self.nodes.len()).filter(|i| self.is_honest(*i));
        let heights = honest.filter_map(|i| Some(self.nodes[i].replica.as_ref()?.state().height()));
        let height = heights.min().unwrap_or_default();
        self.report.height = height.0;
        self.report.root = self
            .committed
            .get(&height)
            .map(|(_, root)| *root)
            .unwrap_or_default();
        self.report.elapsed_ms = self.now_us / 1000;
        self.report.trace = self.trace.finish();
        self.report
    }

    fn schedule(&mut self, after_us: u64, happening: Happening) {
        let life = match &happening {
            Happening::Deliver(node, Input::Timer(_)) => {
                self.nodes.get(*node).map_or(0, |n| n.life)
            }
            _ => 0,
        };
        self.sequence += 1;
        self.queue
            .push(Reverse((self.now_us + after_us, self.sequence)));
        self.happenings.insert(self.sequence, (life, happening));
    }

    fn note(&mut self, bytes: &[u8]) {
        let time = self.now_us.to_be_bytes();
        self.trace = self
            .trace
            .clone()
            .chain(time)
            .chain((bytes.len() as u64).to_be_bytes())
            .chain(bytes);
    }

    fn now(&self) -> Now {
        Now {
            unix: TimestampMs(EPOCH_MS + 1 + self.now_us / 1000),
        }
    }

    fn happen(&mut self, life: u64, happening: Happening) -> Result<(), Violation> {
        match happening {
            Happening::Deliver(node, input) => {
                let timer = matches!(input, Input::Timer(_));
                if timer && self.nodes[node].life != life {
                    return Ok(());
                }
                self.report.messages += u64::from(!timer);
                self.step(node, input)
            }
            Happening::Restart(node) => self.restart(node),
            Happening::FetchBodies {
                asker,
                of,
                block,
                missing,
            } => {
                let bodies = self.bodies(of, &missing);
                let input = Input::Bodies {
                    block,
                    transactions: bodies,
                };
                self.send(asker, &input);
                Ok(())
            }
            Happening::FetchBlocks { asker, of, height } => {
                let peer = self.nodes[of].key.public_key();
                let wanted = |c: &&CommittedBlock| c.block.header.height >= height;
                let blocks = self.nodes[of]
                    .disk
                    .log()
                    .iter()
                    .filter(wanted)
                    .take(BLOCKS_AT_ONCE);
                let blocks = blocks
                    .map(|c| {
                        (
                            Arc::new(c.block.clone().from_own_log()),
                            c.certificate.clone(),
                        )
                    })
                    .collect();
                self.send(asker, &Input::Blocks { peer, blocks });
                Ok(())
            }
            Happening::Heads(node) => {
                self.schedule(500_000, Happening::Heads(node));
                self.say_head(node);
                Ok(())
            }
            Happening::Client => self.client(),
            Happening::ValidatorsApprove => self.validators_approve(),
        }
    }

    fn say_head(&mut self, node: usize) {
        let peer = self.nodes[node].key.public_key();
        let Some(replica) = &self.nodes[node].replica else {
            return;
        };
        let height = replica.state().height();
        let block = replica.head().map(|(_, c)| c.block).unwrap_or_default();
        for other in (0..self.nodes.len()).filter(|o| *o != node) {
            self.send(
                other,
                &Input::PeerHead {
                    peer,
                    height,
                    block,
                },
            );
        }
    }

    fn bodies(&self, of: usize, missing: &[ledger::hash::TxId]) -> Vec<VerifiedTransaction> {
        let Some(replica) = &self.nodes[of].replica else {
            return vec![];
        };
        missing
            .iter()
            .filter_map(|id| replica.transaction(id).cloned())
            .collect()
    }

    /// Sends over a network that delays, loses and repeats.
    fn send(&mut self, to: usize, input: &Input) {
        if self.twins_talk(to, input) {
            return;
        }
        if self.random.chance(self.world.loss_percent) {
            return;
        }
        let copies = 1 + u64::from(self.random.chance(self.world.duplicate_percent));
        for _ in 0..copies {
            let delay = 500 + self.random.below(self.world.delay_us_max);
            self.schedule(delay, Happening::Deliver(to, input.clone()));
        }
    }

    /// Twins do not hear each other: a node drops what comes from its own key.
    fn twins_talk(&self, to: usize, input: &Input) -> bool {
        match input {
            Input::Message { from, .. } => self.nodes[to].key.public_key() == *from,
            _ => false,
        }
    }

    fn restart(&mut self, node: usize) -> Result<(), Violation> {
        let config = Config {
            key: self.nodes[node].key.clone(),
            chain: Disk::chain(&self.genesis),
            timeouts: Timeouts::default(),
            idle: Duration::from_millis(1000),
            mempool: Limits::default(),
        };
        let crash_in = self.world.crash_every.map(|n| self.random.below(n));
        let now = self.now();
        let Node {
            disk,
            replica,
            life,
            ..
        } = &mut self.nodes[node];
        *life += 1;
        *replica = None;
        disk.crash_in = crash_in;
        let start = disk.start(&self.genesis);
        match Replica::start(config, start, now, disk) {
            Ok((started, effects)) => {
                *replica = Some(started);
                self.carry_out(node, effects)
            }
            Err(error) => self.failed(node, &error),
        }
    }

    fn step(&mut self, node: usize, input: Input) -> Result<(), Violation> {
        let now = self.now();
        let Node {
            disk,
            replica: Some(replica),
            ..
        } = &mut self.nodes[node]
        else {
            return Ok(());
        };
        match replica.step(input, now, disk) {
            Ok(effects) => self.carry_out(node, effects),
            Err(error) => self.failed(node, &error),
        }
    }

    fn failed(&mut self, node: usize, error: &ConsensusError) -> Result<(), Violation> {
        let seed = self.world.seed;
        match error {
            ConsensusError::Journal(_) => {
                self.crash(node);
                Ok(())
            }
            ConsensusError::Library(what) => Err(Violation::Unexpected {
                seed,
                node,
                what: what.clone(),
            }),
        }
    }

    fn crash(&mut self, node: usize) {
        self.report.crashes += 1;
        self.note(b"crash");
        let wipe = self.random.chance(self.world.wipe_percent) && self.all_vote();
        let Node {
            disk,
            replica,
            acknowledged,
            ..
        } = &mut self.nodes[node];
        *replica = None;
        disk.crash(&mut self.random);
        if wipe {
            disk.wipe();
            *acknowledged = Height::GENESIS;
            self.report.wipes += 1;
        }
        let after = 1_000 + self.random.below(400_000);
        self.schedule(after, Happening::Restart(node));
    }

    /// Whether no node is waiting until it may vote: if two of four were, the chain would stand still for ever.
    fn all_vote(&self) -> bool {
        let committed = self
            .committed
            .last_key_value()
            .map(|(h, _)| *h)
            .unwrap_or_default();
        self.nodes.iter().all(|n| match n.disk.voting() {
            Some(Voting::Always) => true,
            Some(Voting::From(height)) => height <= committed,
            Some(Voting::Learning(_)) | None => false,
        })
    }
}
