//! What the rest of the node may look at without asking the replica: pictures it has published.

mod disputed;
mod heads;
mod pictures;
mod syncing;

use super::{
    attestations::{Attestations, Differs},
    blocks::{Indexed, TransactionIndex},
    join,
    reaper::Reaper,
    snapshots::Snapshots,
    spaces::Spaces,
    thread::{Ask, Inbox},
    voters::Voters,
    waiters::Waiters,
};
use crate::{
    event::{Alarm, Event},
    handle::{NotHere, Origin, Refusal},
    replica::{Committed, Input, Start},
};
use disputed::Disputed;
use heads::Head;
use ledger::{
    block::CertifiedHeader,
    codec,
    genesis::Genesis,
    hash::{ChainId, StateRoot, TxId},
    keys::PublicKey,
    state::State,
    store::LogReader,
    transaction::VerifiedTransaction,
    units::Height,
    validators::ValidatorSet,
};
use p2p::Peer;
use pictures::Pictures;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
pub(super) use syncing::Syncing;
use tokio::sync::broadcast;

/// Last blocks whose transactions are kept for peers that put a proposal together late.
const BODIES_KEPT: usize = 16;
/// Transactions whose end is remembered although no block has them.
const DROPPED_KEPT: usize = 10_000;
/// A chain that makes no block for so long, beyond the pause of an idle one, stands still.
const STANDSTILL: Duration = Duration::from_secs(10);
/// Why a node that does not follow the chain yet cannot answer.
pub(super) const NO_STATE: &str =
    "it has no state yet: it is fetching a snapshot, or makes the genesis's state";
/// Events that a slow listener may be behind.
pub(super) const EVENTS_KEPT: usize = 1024;

/// Everything that is shared between the replica's thread, the network and the API.
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) public_key: PublicKey,
    pub(super) genesis: Genesis,
    pub(super) chain: ChainId,
    pub(super) inbox: Inbox,
    pub(super) network: p2p::Network,
    pub(super) blocks: LogReader,
    pub(super) index: TransactionIndex,
    pub(super) events: broadcast::Sender<Event>,
    pub(super) waiters: Waiters,
    pub(super) mempool: AtomicUsize,
    pub(super) votes: AtomicBool,
    pub(super) ready: AtomicBool,
    pub(super) transactions_total: AtomicU64,
    pub(super) alarms_total: AtomicU64,
    pub(super) snapshots: Arc<Snapshots>,
    pub(super) voters: Voters,
    /// What is followed, if that is less than the whole chain.
    pub(super) spaces: Option<Spaces>,
    /// How long an idle chain may pause.
    idle: Duration,
    /// Whether blocks from before its history are fetched.
    pub(super) backfills: bool,
    /// Whether the replica runs. Before that, a state is being fetched.
    following: AtomicBool,
    pictures: Mutex<Pictures>,
    heads: Mutex<BTreeMap<Peer, Head>>,
    sync: Mutex<Option<Syncing>>,
    origin: Mutex<Option<Origin>>,
    attestations: Mutex<Attestations>,
    reaper: Reaper,
}

/// What a shared picture starts with.
pub(super) struct Beginning {
    pub(super) name: String,
    pub(super) public_key: PublicKey,
    pub(super) genesis: Genesis,
    pub(super) inbox: Inbox,
    pub(super) network: p2p::Network,
    pub(super) blocks: LogReader,
    pub(super) index: TransactionIndex,
    /// None of a node that is to get one first.
    pub(super) state: Option<State>,
    pub(super) head: Option<CertifiedHeader>,
    pub(super) snapshots: Arc<Snapshots>,
    pub(super) voters: Voters,
    pub(super) spaces: Option<Spaces>,
    pub(super) events: broadcast::Sender<Event>,
    pub(super) reaper: Reaper,
    pub(super) idle: Duration,
    pub(super) backfills: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(beginning: Beginning) -> Self {
        let Beginning {
            name,
            public_key,
            genesis,
            inbox,
            network,
            blocks,
            index,
            state,
            head,
            snapshots,
            voters,
            spaces,
            events,
            reaper,
            idle,
            backfills,
        } = beginning;
        let pictures = Pictures::new(state, head);
        Self {
            name,
            public_key,
            chain: genesis.chain_id(),
            genesis,
            inbox,
            network,
            blocks,
            index,
            events,
            waiters: Waiters::default(),
            mempool: AtomicUsize::new(0),
            votes: AtomicBool::new(false),
            ready: AtomicBool::new(false),
            transactions_total: AtomicU64::new(0),
            alarms_total: AtomicU64::new(0),
            snapshots,
            voters,
            spaces,
            idle,
            backfills,
            following: AtomicBool::new(false),
            pictures: Mutex::new(pictures),
            heads: Mutex::default(),
            sync: Mutex::default(),
            origin: Mutex::default(),
            attestations: Mutex::default(),
            reaper,
        }
    }

    pub(super) fn pictures(&self) -> MutexGuard<'_, Pictures> {
        lock(&self.pictures)
    }

    /// For how long no block has become final here, if that is longer than any pause of an idle chain.
    pub(super) fn stands_still(&self) -> Option<Duration> {
        let since = self.pictures().committed_at.elapsed();
        let paused = self.idle.saturating_mul(2).saturating_add(STANDSTILL);
        (since > paused).then_some(since)
    }

    pub(super) fn attestations(&self) -> MutexGuard<'_, Attestations> {
        lock(&self.attestations)
    }

    /// What it started from, once that is settled.
    pub(super) fn origin(&self) -> MutexGuard<'_, Option<Origin>> {
        lock(&self.origin)
    }

    pub(super) fn sync(&self) -> MutexGuard<'_, Option<Syncing>> {
        lock(&self.sync)
    }

    /// Gives the replica an input. While there is none nobody misses it: it all comes again.
    pub(super) fn input(&self, input: Input) {
        if self.follows() {
            self.inbox.send(Ask::Input(input));
        }
    }

    /// Whether a key is a validator's.
    pub(super) fn is_validator(&self, key: &PublicKey) -> bool {
        self.next_validators().get(&key.address()).is_some()
    }

    /// Who votes on the next block; on a node without a state, as far as that is known: the genesis's.
    pub(super) fn next_validators(&self) -> ValidatorSet {
        let pictures = self.pictures();
        let newest = pictures.states.back();
        newest.map_or_else(
            || self.voters.of_genesis().clone(),
            |state| state.next_validators().clone(),
        )
    }

    /// Whether the replica runs; before, nothing is asked of it.
    pub(super) fn follows(&self) -> bool {
        self.following.load(Ordering::Acquire)
    }

    /// The replica starts from here: with the state this began with, or with one that was fetched since.
    pub(super) fn follow_from(&self, start: &Start) {
        let Start { state, head, .. } = start;
        self.voters.note(state);
        {
            let mut pictures = self.pictures();
            pictures.states = VecDeque::from([state.clone()]);
            pictures.roots = BTreeMap::from([(state.height(), state.root())]);
            pictures.head = head.clone().map(|(header, certificate)| CertifiedHeader {
                header,
                certificate,
            });
            pictures.began_after = pictures.head.clone();
        }
        self.following.store(true, Ordering::Release);
    }

    /// A block became final.
    pub(super) fn committed(&self, committed: &Arc<Committed>) {
        let Committed {
            block,
            certificate,
            executed,
        } = &**committed;
        let state = &executed.state;
        let count = block.transactions.len() as u64;
        let event = Event::Block {
            height: block.header.height,
            round: certificate.round,
            hash: certificate.block,
            state_root: state.root(),
            proposer: block.header.proposer,
            time: block.header.time,
            transactions: count,
        };
        self.voters.note(state);
        let indexed = Indexed::of(block, state, &executed.outcomes);
        self.index.wait_for_room();
        let old = {
            let mut pictures = self.pictures();
            self.index.add(indexed);
            for (id, _) in &executed.outcomes {
                pictures.pending.remove(id);
            }
            pictures.head = Some(CertifiedHeader {
                header: block.header.clone(),
                certificate: certificate.clone(),
            });
            pictures.last_block_transactions = count;
            pictures.committed_at = Instant::now();
            let mut old_states = pictures.push(state.clone(), Instant::now());
            pictures.bodies.push_back(committed.clone());
            let old_body = (pictures.bodies.len() > BODIES_KEPT)
                .then(|| pictures.bodies.pop_front())
                .flatten();
            let settled = pictures.disputed.take_if(|d| d.is_over(state.height()));
            old_states.extend(settled.map(Disputed::into_state));
            (old_states, old_body)
        };
        self.reaper.let_go(old);
        self.transactions_total.fetch_add(count, Ordering::Relaxed);
        self.ready.store(true, Ordering::Relaxed);
        self.waiters
            .wake(executed.outcomes.iter().map(|(id, _)| id));
        let _ = self.events.send(event);
    }

    /// Transactions that can be in no block any more.
    pub(super) fn dropped(&self, dropped: Vec<(TxId, Refusal)>) {
        let ids: Vec<TxId> = dropped.iter().map(|(id, _)| *id).collect();
        {
            let mut pictures = self.pictures();
            for (id, why) in dropped {
                pictures.pending.remove(&id);
                if pictures.dropped.insert(id, why).is_none() {
                    pictures.dropped_order.push_back(id);
                }
            }
            while pictures.dropped_order.len() > DROPPED_KEPT {
                if let Some(id) = pictures.dropped_order.pop_front() {
                    pictures.dropped.remove(&id);
                }
            }
        }
        self.waiters.wake(&ids);
    }

    pub(super) fn alarm(&self, alarm: Alarm) {
        let who = self.name_of(&alarm);
        tracing::error!(who, "ALARM: {alarm}");
        self.alarms_total.fetch_add(1, Ordering::Relaxed);
        if matches!(alarm, Alarm::Diverged { .. }) {
            self.pictures().alarm = Some(alarm.to_string());
        }
        let _ = self.events.send(Event::Alarm(alarm));
    }

    /// The name that the genesis has for the one an alarm is about.
    fn name_of(&self, alarm: &Alarm) -> Option<&str> {
        let is_meant = |key: &PublicKey| match alarm {
            Alarm::Diverged { .. } => *key == self.public_key,
            Alarm::PeerDiffers { peer, .. } => key == peer,
            Alarm::Equivocation { validator, .. } => key.address() == *validator,
        };
        let mut validators = self.genesis.validators.iter();
        let found = validators.find(|v| is_meant(&v.public_key))?;
        Some(&found.name)
    }

    /// Holds a root of this node's against what peers attest.
    pub(super) fn own_root(&self, height: Height, root: StateRoot) {
        let differing = self.attestations().own(height, root);
        differing.into_iter().for_each(|d| self.differs(d));
    }

    pub(super) fn differs(&self, differs: Differs) {
        let Differs {
            node: peer,
            height,
            here,
            theirs,
        } = differs;
        {
            let mut pictures = self.pictures();
            if let Some(own) = pictures.state(height).cloned() {
                let before = pictures.disputed.take();
                pictures.disputed = Some(Disputed::by_a_peer(before, own));
            }
        }
        self.alarm(Alarm::PeerDiffers {
            peer,
            height,
            here,
            theirs,
        });
    }

    /// Those who voted on the newest block.
    pub(super) fn validators(&self) -> Option<ValidatorSet> {
        let pictures = self.pictures();
        let newest = pictures.states.back()?;
        Some(newest.validators().current.clone())
    }

    /// The newest state with its certified header.
    pub(super) fn newest(&self) -> Result<(State, CertifiedHeader), NotHere> {
        if self.spaces.is_some() {
            return Err(NotHere::FollowsSpaces);
        }
        if !self.follows() {
            return Err(NotHere::NotReady(NO_STATE.into()));
        }
        let pictures = self.pictures();
        match (pictures.states.back(), &pictures.head) {
            (Some(state), Some(head)) => Ok((state.clone(), head.clone())),
            _ => Err(NotHere::NotReady("no block is final yet".into())),
        }
    }

    /// Bodies of transactions of the last blocks.
    pub(super) fn recent_bodies(&self, ids: &[TxId]) -> Vec<VerifiedTransaction> {
        // Looked through without the lock: votes wait for it too.
        let recent: Vec<_> = self.pictures().bodies.iter().rev().cloned().collect();
        let wanted: std::collections::HashSet<&TxId> = ids.iter().collect();
        recent
            .iter()
            .flat_map(|c| &c.block.transactions)
            .filter(|t| wanted.contains(&t.id()))
            .cloned()
            .collect()
    }

    /// What peers are told of this node.
    pub(super) fn peer_status(&self) -> p2p::Status {
        let snapshots = join::offers(self.snapshots.store());
        let pictures = self.pictures();
        let latest = pictures
            .states
            .back()
            .map(State::height)
            .unwrap_or_default();
        p2p::Status {
            chain: self.chain,
            version: ledger::genesis::PROTOCOL_VERSION,
            height: latest,
            earliest_block: self.blocks.first().unwrap_or(latest.next()),
            head: pictures
                .head
                .as_ref()
                .map(|head| codec::encode(head).into()),
            snapshots,
        }
    }

    /// A block as the log has it.
    pub(super) fn logged(&self, height: Height) -> Result<Option<Vec<u8>>, String> {
        let record = self.blocks.read(height).map_err(|e| e.to_string())?;
        Ok(record.map(|r| r.payload))
    }

    pub(super) fn latest(&self) -> Height {
        if let Some(spaces) = &self.spaces {
            let newest = spaces.newest();
            return newest.map_or(Height::GENESIS, |newest| newest.manifest.height());
        }
        self.pictures()
            .states
            .back()
            .map(State::height)
            .unwrap_or_default()
    }
}
