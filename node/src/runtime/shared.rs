//! What the rest of the node may look at without asking the replica: pictures it has published.

use super::{
    blocks::{Indexed, TransactionIndex},
    thread::{Ask, Inbox},
};
use crate::{
    event::{Alarm, Event},
    handle::{
        Answering, Backend, BlockName, NotHere, Refusal, SnapshotInfo, Status, TransactionStatus,
    },
    replica::Committed,
};
use ledger::{
    block::{CertifiedHeader, CommittedBlock},
    codec,
    genesis::Genesis,
    hash::{Address, ChainId, StateRoot, TxId},
    keys::PublicKey,
    state::State,
    store::LogReader,
    transaction::{SignedTransaction, VerifiedTransaction, verify_batch},
    units::{Height, Nonce},
    untrusted::Untrusted,
};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::{broadcast, watch};

/// States that are kept in memory, for queries of recent heights.
const STATES_KEPT: usize = 64;
/// Last blocks whose transactions are kept for peers that put a proposal together late.
const BODIES_KEPT: usize = 16;
/// Transactions whose end is remembered although no block has them.
const DROPPED_KEPT: usize = 10_000;
/// Events that a slow listener may be behind.
const EVENTS_KEPT: usize = 1024;

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
    /// The height, for those who wait for a transaction.
    pub(super) height: watch::Sender<Height>,
    pub(super) mempool: AtomicUsize,
    pub(super) ready: AtomicBool,
    pub(super) transactions_total: AtomicU64,
    pub(super) alarms_total: AtomicU64,
    pictures: Mutex<Pictures>,
}

struct Pictures {
    states: VecDeque<State>,
    head: Option<CertifiedHeader>,
    last_block_transactions: u64,
    bodies: VecDeque<Arc<Committed>>,
    dropped: HashMap<TxId, Refusal>,
    dropped_order: VecDeque<TxId>,
    /// Transactions that came through this node and wait.
    pending: HashMap<TxId, ()>,
    alarm: Option<String>,
    roots: BTreeMap<Height, StateRoot>,
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
    pub(super) state: State,
    pub(super) head: Option<CertifiedHeader>,
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
        } = beginning;
        let pictures = Pictures {
            roots: BTreeMap::from([(state.height(), state.root())]),
            states: VecDeque::from([state.clone()]),
            head,
            last_block_transactions: 0,
            bodies: VecDeque::new(),
            dropped: HashMap::new(),
            dropped_order: VecDeque::new(),
            pending: HashMap::new(),
            alarm: None,
        };
        Self {
            name,
            public_key,
            chain: genesis.chain_id(),
            genesis,
            inbox,
            network,
            blocks,
            index,
            events: broadcast::Sender::new(EVENTS_KEPT),
            height: watch::Sender::new(state.height()),
            mempool: AtomicUsize::new(0),
            ready: AtomicBool::new(false),
            transactions_total: AtomicU64::new(0),
            alarms_total: AtomicU64::new(0),
            pictures: Mutex::new(pictures),
        }
    }

    fn pictures(&self) -> MutexGuard<'_, Pictures> {
        self.pictures.lock().unwrap_or_else(PoisonError::into_inner)
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
        let indexed = Indexed::of(block, state, &executed.outcomes);
        self.index.wait_for_room();
        let old = {
            let mut pictures = self.pictures();
            self.index.add(indexed);
            for (id, _) in &executed.outcomes {
                pictures.pending.remove(id);
            }
            pictures.roots.insert(state.height(), state.root());
            pictures.head = Some(CertifiedHeader {
                header: block.header.clone(),
                certificate: certificate.clone(),
            });
            pictures.last_block_transactions = count;
            pictures.states.push_back(state.clone());
            pictures.bodies.push_back(committed.clone());
            let old_state =
                (pictures.states.len() > STATES_KEPT).then(|| pictures.states.pop_front());
            let old_body =
                (pictures.bodies.len() > BODIES_KEPT).then(|| pictures.bodies.pop_front());
            (old_state, old_body)
        };
        // Letting an old tree go takes time: nobody waits for it with the lock held.
        drop(old);
        self.transactions_total.fetch_add(count, Ordering::Relaxed);
        self.ready.store(true, Ordering::Relaxed);
        self.height.send_replace(state.height());
        let _ = self.events.send(event);
    }

    /// Transactions that can be in no block any more.
    pub(super) fn dropped(&self, dropped: Vec<(TxId, Refusal)>) {
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
        self.height.send_modify(|_| ());
    }

    pub(super) fn alarm(&self, alarm: Alarm) {
        tracing::error!(?alarm, "ALARM: somebody disagrees about the chain");
        self.alarms_total.fetch_add(1, Ordering::Relaxed);
        self.pictures().alarm = Some(format!("{alarm:?}"));
        let _ = self.events.send(Event::Alarm(alarm));
    }

    /// Bodies of transactions of the last blocks.
    pub(super) fn recent_bodies(&self, ids: &[TxId]) -> Vec<VerifiedTransaction> {
        let pictures = self.pictures();
        let wanted: std::collections::HashSet<&TxId> = ids.iter().collect();
        let recent = pictures
            .bodies
            .iter()
            .rev()
            .flat_map(|c| &c.block.transactions);
        recent
            .filter(|t| wanted.contains(&t.id()))
            .cloned()
            .collect()
    }

    /// What peers are told of this node.
    pub(super) fn peer_status(&self) -> p2p::Status {
        let pictures = self.pictures();
        p2p::Status {
            chain: self.chain,
            version: ledger::genesis::PROTOCOL_VERSION,
            height: pictures
                .states
                .back()
                .map(State::height)
                .unwrap_or_default(),
            earliest_block: self.index.first().unwrap_or(Height(1)),
            head: pictures
                .head
                .as_ref()
                .map(|head| codec::encode(head).into()),
            snapshots: Vec::new(),
        }
    }

    /// A block as the log has it.
    pub(super) fn logged(&self, height: Height) -> Result<Option<Vec<u8>>, String> {
        let record = self.blocks.read(height).map_err(|e| e.to_string())?;
        Ok(record.map(|r| r.payload))
    }

    fn latest(&self) -> Height {
        self.pictures()
            .states
            .back()
            .map(State::height)
            .unwrap_or_default()
    }
}

impl Backend for Shared {
    fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    fn status(&self) -> Status {
        let peers = self.network.peers().len();
        let p2p = self
            .network
            .listening()
            .iter()
            .map(ToString::to_string)
            .collect();
        let pictures = self.pictures();
        let state = pictures.states.back();
        let address = self.public_key.address();
        Status {
            name: self.name.clone(),
            public_key: self.public_key,
            chain: self.chain,
            validator: state.is_some_and(|s| s.next_validators().get(&address).is_some()),
            height: state.map(State::height).unwrap_or_default(),
            earliest_block: self.index.first(),
            head: pictures.head.clone(),
            state_root: state.map(State::root).unwrap_or_default(),
            last_block_transactions: pictures.last_block_transactions,
            peers,
            p2p,
            mempool: self.mempool.load(Ordering::Relaxed),
            snapshot: None,
            sync: None,
            alarm: pictures.alarm.clone(),
            ready: self.ready.load(Ordering::Relaxed) && pictures.alarm.is_none(),
        }
    }

    fn state(&self, height: Option<Height>) -> Result<State, NotHere> {
        let pictures = self.pictures();
        let newest = pictures.states.back().cloned();
        let newest = newest.ok_or_else(|| NotHere::Unknown("the state".into()))?;
        let Some(asked) = height else {
            return Ok(newest);
        };
        let latest = newest.height();
        if asked > latest {
            return Err(NotHere::Future { asked, latest });
        }
        let earliest = pictures
            .states
            .front()
            .map(State::height)
            .unwrap_or_default();
        let found = pictures
            .states
            .iter()
            .find(|s| s.height() == asked)
            .cloned();
        found.ok_or(NotHere::Pruned { earliest })
    }

    fn next_nonce(&self, address: &Address) -> Nonce {
        let (answer, taken) = std::sync::mpsc::sync_channel(1);
        let asked = self.inbox.send(Ask::NextNonce {
            address: *address,
            answer,
        });
        let nonce = asked
            .then(|| taken.recv_timeout(Duration::from_secs(5)).ok())
            .flatten();
        nonce.unwrap_or_else(|| {
            let state = self.state(None).ok();
            state
                .and_then(|s| s.account(address))
                .map(|a| a.nonce)
                .unwrap_or_default()
        })
    }

    fn block(&self, name: &BlockName) -> Result<CommittedBlock, NotHere> {
        let latest = self.latest();
        let height = match name {
            BlockName::Latest => latest,
            BlockName::Height(height) => *height,
            BlockName::Hash(prefix) => self.index.block_height(prefix)?,
        };
        if height > latest {
            return Err(NotHere::Future {
                asked: height,
                latest,
            });
        }
        if height == Height::GENESIS {
            return Err(NotHere::Unknown(
                "a block of height 0 (the genesis has none)".into(),
            ));
        }
        match self.logged(height) {
            Ok(Some(payload)) => codec::decode_unchecked(&payload, ledger::block::BLOCK_BYTES_MAX)
                .map_err(|e| NotHere::Failed(e.to_string())),
            Ok(None) => {
                let earliest = self.index.first().unwrap_or(latest);
                Err(NotHere::Pruned { earliest })
            }
            Err(why) => Err(NotHere::Failed(why)),
        }
    }

    fn transaction_id(&self, prefix: &str) -> Result<TxId, NotHere> {
        if let Ok(id) = prefix.parse() {
            return Ok(id);
        }
        self.index.transaction_id(prefix)
    }

    fn transaction(&self, id: &TxId) -> TransactionStatus {
        let otherwise = {
            let pictures = self.pictures();
            match pictures.dropped.get(id) {
                Some(why) => TransactionStatus::Dropped(why.clone()),
                None if pictures.pending.contains_key(id) => TransactionStatus::Pending,
                None => TransactionStatus::Unknown,
            }
        };
        // The index second: what ceased to wait before is in it.
        match self.index.committed(id) {
            Some(committed) => TransactionStatus::Committed(committed),
            None => otherwise,
        }
    }

    fn snapshots(&self) -> Vec<SnapshotInfo> {
        Vec::new()
    }

    fn manifest(&self, height: Height) -> Result<Vec<u8>, NotHere> {
        Err(NotHere::Unknown(format!("a snapshot at height {height}")))
    }

    fn take_snapshot(&self) -> Result<SnapshotInfo, NotHere> {
        Err(NotHere::Failed(
            "this version of the node takes no snapshots yet".into(),
        ))
    }

    fn root(&self, height: Height) -> Result<StateRoot, NotHere> {
        let kept = self.pictures().roots.get(&height).copied();
        if let Some(root) = kept.or_else(|| self.index.root(height)) {
            return Ok(root);
        }
        let latest = self.latest();
        if height > latest {
            return Err(NotHere::Future {
                asked: height,
                latest,
            });
        }
        Err(NotHere::Pruned {
            earliest: self.index.first().unwrap_or(latest),
        })
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    fn metrics(&self) -> String {
        let status = self.status();
        let net = self.network.metrics();
        let rows = [
            (
                "height",
                "gauge",
                "The last committed height.",
                status.height.0,
            ),
            ("peers", "gauge", "Connected peers.", status.peers as u64),
            (
                "mempool_transactions",
                "gauge",
                "Transactions waiting.",
                status.mempool as u64,
            ),
            (
                "transactions_total",
                "counter",
                "Transactions committed since the start.",
                self.transactions_total.load(Ordering::Relaxed),
            ),
            (
                "alarms_total",
                "counter",
                "Disagreements seen since the start.",
                self.alarms_total.load(Ordering::Relaxed),
            ),
            (
                "gossip_dropped_total",
                "counter",
                "Gossip dropped.",
                net.gossip_dropped,
            ),
        ];
        let row = |(name, kind, help, value): (&str, &str, &str, u64)| {
            format!(
                "# HELP tintype_{name} {help}\n# TYPE tintype_{name} {kind}\ntintype_{name} {value}\n"
            )
        };
        rows.into_iter().map(row).collect()
    }

    fn submit(
        &self,
        transactions: Vec<Untrusted<SignedTransaction>>,
    ) -> Answering<'_, Vec<Result<TxId, Refusal>>> {
        Box::pin(async move {
            let count = transactions.len();
            let chain = self.chain;
            let checked =
                tokio::task::spawn_blocking(move || verify_batch(transactions, &chain)).await;
            let not_ready = |why: &str| Err(Refusal::NotReady(why.into()));
            let Ok(checked) = checked else {
                return vec![not_ready("it is stopping"); count];
            };
            let good: Vec<_> = checked
                .iter()
                .filter_map(|c| c.as_ref().ok().cloned())
                .collect();
            {
                let mut pictures = self.pictures();
                for transaction in &good {
                    pictures.pending.insert(transaction.id(), ());
                    pictures.dropped.remove(&transaction.id());
                }
            }
            let (answer, taken) = tokio::sync::oneshot::channel();
            if !self.inbox.send(Ask::Submit {
                transactions: good.clone(),
                answer,
            }) {
                return vec![not_ready("it is stopping, or overloaded"); count];
            }
            let Ok(results) = taken.await else {
                return vec![not_ready("it is stopping"); count];
            };
            {
                let mut pictures = self.pictures();
                for (transaction, result) in good.iter().zip(&results) {
                    if result.is_err() {
                        pictures.pending.remove(&transaction.id());
                    }
                }
            }
            let mut results = results.into_iter();
            let merge = |c: Result<VerifiedTransaction, _>| match c {
                Ok(_) => results
                    .next()
                    .unwrap_or_else(|| not_ready("it is stopping")),
                Err(e) => Err(Refusal::Invalid(e)),
            };
            checked.into_iter().map(merge).collect()
        })
    }

    fn wait_for(&self, id: TxId, timeout: Duration) -> Answering<'_, TransactionStatus> {
        Box::pin(async move {
            let mut heights = self.height.subscribe();
            let deadline = tokio::time::Instant::now() + timeout;
            loop {
                let status = self.transaction(&id);
                let settled = matches!(
                    status,
                    TransactionStatus::Committed(_) | TransactionStatus::Dropped(_)
                );
                if settled {
                    return status;
                }
                match tokio::time::timeout_at(deadline, heights.changed()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => return self.transaction(&id),
                }
            }
        })
    }
}
