//! Effects of the replica that go out: to peers, to clients, to those who listen.

use super::{shared::Shared, thread::Ask};
use crate::{
    event::Alarm,
    replica::{Committed, Effect, Input, message::Message},
};
use ledger::{
    block::{Block, CertifiedHeader, CommittedBlock},
    certificate::Certificate,
    codec,
    envelope::{Attestation, AttestedRoot, ENVELOPE_TRANSACTIONS_MAX, Envelope},
    hash::{BlockHash, Domain, Hash, StateRoot, TxId, hash},
    keys::{PublicKey, SecretKey},
    transaction::{SignedTransaction, VerifiedTransaction, verify_batch},
    units::Height,
};
use p2p::{BODIES_ASKED_MAX, BODIES_BYTES_MAX, Channel, Fault, Peer, Request, Response};
use std::{
    collections::{BTreeSet, HashMap, HashSet, hash_map::Entry},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::{runtime::Handle as Tokio, task::JoinHandle};

/// Blocks asked for at once.
const BLOCKS_AT_ONCE: u32 = 64;
/// Peers that are asked for the bodies of one block.
const SOURCES_MAX: usize = 3;
/// How long a peer may take to answer with bodies before another is asked: a silent one must not cost the round.
const BODIES_PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of transactions in one envelope, far below what the channel carries.
const ENVELOPE_FILL_BYTES: u64 = 1 << 20;
/// At least so long lies between two envelopes: what comes meanwhile goes into one.
const COLLECT: Duration = Duration::from_millis(3);
/// Messages remembered so that one said again gets through; then all are forgotten.
const SAID_MAX: usize = 4096;

/// The way out.
pub(super) struct Outlet {
    pub(super) shared: Arc<Shared>,
    tokio: Tokio,
    key: SecretKey,
    incarnation: u64,
    sequence: u64,
    colour: Height,
    said: HashSet<Hash>,
    /// Fetches of bodies, by the block that lacks them.
    fetching: HashMap<BlockHash, JoinHandle<()>>,
    /// Transactions of clients for the next envelope.
    waiting: Vec<SignedTransaction>,
    waiting_bytes: u64,
    sealed_at: Instant,
}

impl Outlet {
    /// Of a node that has started `incarnation` times, and whose last snapshot height is `colour`.
    pub(super) fn new(
        shared: Arc<Shared>,
        key: SecretKey,
        incarnation: u64,
        colour: Height,
    ) -> Self {
        Self {
            shared,
            tokio: Tokio::current(),
            key,
            incarnation,
            sequence: 0,
            colour,
            said: HashSet::new(),
            fetching: HashMap::new(),
            waiting: Vec::new(),
            waiting_bytes: 0,
            sealed_at: Instant::now(),
        }
    }

    pub(super) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Broadcast(message) => self.broadcast(&message),
            Effect::Gossip(transactions) => self.gossip(transactions),
            Effect::FetchBodies {
                from,
                block,
                missing,
            } => self.fetch_bodies(from, block, missing),
            Effect::FetchBlocks { from, height } => self.fetch_blocks(from, height),
            Effect::Committed(committed) => self.committed(&committed),
            Effect::Dropped(dropped) => self.shared.dropped(dropped),
            Effect::Astray(state) => self.shared.pictures().gone_astray(state),
            Effect::Alarm(alarm) => self.alarm(alarm),
            Effect::Fault { peer, what } => {
                tracing::warn!(%peer, what, "a peer did what no honest one does");
                if let Some(peer) = Peer::from_public_key(&peer) {
                    self.shared.network.penalize(peer, Fault::Forged);
                }
            }
            // The replica's thread does these itself.
            Effect::SetTimer(..) | Effect::Admitted { .. } | Effect::Evidence(_) => {}
        }
    }

    fn committed(&mut self, committed: &Arc<Committed>) {
        let state = &committed.executed.state;
        let height = state.height();
        self.shared.committed(committed);
        self.shared.own_root(height, state.root());
        let interval = state.parameters().snapshot_interval.max(1);
        let is_due = height.0.is_multiple_of(interval);
        let snapshots = &self.shared.snapshots;
        if !is_due && !snapshots.wants_first(state) {
            return;
        }
        let begun = Instant::now();
        let certified = CertifiedHeader {
            header: committed.block.header.clone(),
            certificate: committed.certificate.clone(),
        };
        snapshots.take(state.clone(), certified);
        if is_due {
            self.colour = height;
            self.attest(height, state.root());
        }
        let pause_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let longest = &self.shared.snapshots.pause_us_max;
        longest.fetch_max(pause_us, Ordering::Relaxed);
    }

    fn alarm(&mut self, alarm: Alarm) {
        if let Alarm::Diverged {
            height,
            here: Some(root),
            ..
        } = &alarm
        {
            // The others learn from the one that has gone astray itself, without waiting for a snapshot height.
            self.attest(*height, *root);
        }
        self.shared.alarm(alarm);
    }

    /// Says, signed, which root this node has.
    fn attest(&self, height: Height, root: StateRoot) {
        let claim = AttestedRoot { height, root };
        let attestation = Attestation::new(&self.key, &self.shared.chain, claim);
        let bytes = codec::encode(&attestation);
        if let Err(error) = self.shared.network.publish(Channel::Attestations, bytes) {
            tracing::warn!(%error, "this node's root was not attested");
        }
    }

    fn broadcast(&mut self, message: &Message) {
        if matches!(message, Message::Proposal(..)) {
            // It may name transactions that wait here: nobody shall have to ask for them.
            self.send_waiting();
        }
        let bytes = codec::encode(message);
        if self.said.len() >= SAID_MAX {
            self.said.clear();
        }
        let new = self.said.insert(hash(Domain::Vote, &bytes));
        let network = &self.shared.network;
        let result = if new {
            network.publish(Channel::Consensus, bytes)
        } else {
            network.publish_again(Channel::Consensus, bytes)
        };
        if let Err(error) = result {
            tracing::warn!(%error, "a consensus message was not sent");
        }
    }

    fn gossip(&mut self, transactions: Vec<VerifiedTransaction>) {
        for transaction in transactions {
            self.waiting_bytes += transaction.encoded_bytes();
            self.waiting.push(transaction.signed().clone());
            if self.waiting_bytes >= ENVELOPE_FILL_BYTES
                || self.waiting.len() >= ENVELOPE_TRANSACTIONS_MAX
            {
                self.send_waiting();
            }
        }
        self.send_due(Instant::now());
    }

    /// When the transactions that wait for an envelope are to go.
    pub(super) fn next_due(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then(|| self.sealed_at + COLLECT)
    }

    /// Seals what waits, if the last envelope was long enough ago: on a quiet node that is at once.
    pub(super) fn send_due(&mut self, now: Instant) {
        if self.next_due().is_some_and(|due| due <= now) {
            self.send_waiting();
        }
    }

    fn send_waiting(&mut self) {
        if !self.waiting.is_empty() {
            self.waiting_bytes = 0;
            let transactions = std::mem::take(&mut self.waiting);
            self.seal(transactions);
            self.sealed_at = Instant::now();
        }
    }

    fn seal(&mut self, transactions: Vec<SignedTransaction>) {
        let number = (self.incarnation, self.sequence);
        self.sequence += 1;
        let chain = &self.shared.chain;
        let envelope = Envelope::seal(&self.key, chain, number, self.colour, transactions);
        let bytes = codec::encode(&envelope);
        if let Err(error) = self.shared.network.publish(Channel::Transactions, bytes) {
            tracing::warn!(%error, "transactions of clients were not passed on");
        }
    }

    /// One fetch at a time for each block: the replica asks again while it lasts, and gets what comes meanwhile.
    fn fetch_bodies(&mut self, from: PublicKey, block: BlockHash, missing: Vec<TxId>) {
        self.fetching.retain(|_, task| !task.is_finished());
        if let Entry::Vacant(free) = self.fetching.entry(block) {
            let fetch = bodies_of(Arc::clone(&self.shared), from, block, missing);
            free.insert(self.tokio.spawn(fetch));
        }
    }

    fn fetch_blocks(&self, from: PublicKey, height: Height) {
        let shared = Arc::clone(&self.shared);
        self.tokio.spawn(async move {
            let blocks = match Peer::from_public_key(&from) {
                Some(peer) => blocks_of(&shared, peer, height).await,
                None => vec![],
            };
            shared
                .inbox
                .send(Ask::Input(Input::Blocks { peer: from, blocks }));
        });
    }
}

/// Fetches bodies from a peer, and what it does not have from others.
async fn bodies_of(shared: Arc<Shared>, from: PublicKey, block: BlockHash, missing: Vec<TxId>) {
    let Some(peer) = Peer::from_public_key(&from) else {
        return;
    };
    // The one who proposed may be gone; the others have put the same block together.
    let connected = shared.network.peers().into_iter().map(|p| p.peer);
    let sources = std::iter::once(peer).chain(connected.filter(|p| *p != peer));
    let mut missing: BTreeSet<TxId> = missing.into_iter().collect();
    for source in sources.take(SOURCES_MAX) {
        let mut unasked = missing.clone();
        while !unasked.is_empty() {
            let ids: Vec<TxId> = unasked.iter().take(BODIES_ASKED_MAX).copied().collect();
            let last_asked = ids.last().copied();
            let request = shared.network.request(source, Request::Bodies { ids });
            let answer = tokio::time::timeout(BODIES_PATIENCE, request).await;
            let Ok(Ok(Response::Bodies(bodies))) = answer else {
                break;
            };
            let bytes: usize = bodies.iter().map(|b| b.0.len()).sum();
            let chain = shared.chain;
            let verify = move || {
                let decode = |b: &p2p::Payload| SignedTransaction::decode(&b.0).ok();
                verify_batch(bodies.iter().filter_map(decode).collect(), &chain)
            };
            let verified = tokio::task::spawn_blocking(verify).await;
            let mut transactions: Vec<_> =
                verified.unwrap_or_default().into_iter().flatten().collect();
            transactions.retain(|t| missing.remove(&t.id()));
            // An answer that is full ends somewhere; any other has all that the peer has of what was asked.
            let answered = if bytes < BODIES_BYTES_MAX {
                last_asked
            } else {
                transactions.iter().map(VerifiedTransaction::id).max()
            };
            shared.inbox.send(Ask::Input(Input::Bodies {
                block,
                transactions,
            }));
            let Some(answered) = answered else { break };
            unasked.retain(|id| *id > answered);
        }
    }
}

async fn blocks_of(shared: &Shared, peer: Peer, from: Height) -> Vec<(Arc<Block>, Certificate)> {
    let request = Request::Blocks {
        from,
        max: BLOCKS_AT_ONCE,
    };
    let Ok(Response::Blocks(blocks)) = shared.network.request(peer, request).await else {
        return vec![];
    };
    let chain = shared.chain;
    let network = shared.network.clone();
    let verify = move || {
        let verify = |payload: &p2p::Payload| {
            let claimed = CommittedBlock::decode(&payload.0).ok()?;
            // A certificate says nothing of what came beside the header: the header does.
            let Ok(committed) = claimed.verify_body() else {
                network.penalize(peer, Fault::WrongContent);
                return None;
            };
            // The outcomes are this node's own once it has executed the block.
            let CommittedBlock {
                block, certificate, ..
            } = committed;
            Some((
                Arc::new(block.verify_transactions(&chain).ok()?),
                certificate,
            ))
        };
        // Only those before the first that is bad: what follows it cannot be used.
        blocks.iter().map_while(verify).collect::<Vec<_>>()
    };
    tokio::task::spawn_blocking(verify)
        .await
        .unwrap_or_default()
}
