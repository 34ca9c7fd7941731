//! Effects of the replica that go out: to peers, to clients, to those who listen.

use super::{shared::Shared, thread::Ask};
use crate::replica::{Effect, Input, message::Message};
use ledger::{
    block::{Block, CommittedBlock},
    certificate::Certificate,
    codec,
    envelope::{ENVELOPE_TRANSACTIONS_MAX, Envelope},
    hash::{BlockHash, Domain, Hash, TxId, hash},
    keys::{PublicKey, SecretKey},
    transaction::{SignedTransaction, VerifiedTransaction, verify_batch},
    units::Height,
};
use p2p::{Channel, Fault, Peer, Request, Response};
use std::{collections::HashSet, sync::Arc};
use tokio::runtime::Handle as Tokio;

/// Blocks asked for at once.
const BLOCKS_AT_ONCE: u32 = 64;
/// Bytes of transactions in one envelope, far below what the channel carries.
const ENVELOPE_FILL_BYTES: u64 = 1 << 20;
/// Messages remembered so that one said again gets through; then all are forgotten.
const SAID_MAX: usize = 4096;

/// The way out.
pub(super) struct Outlet {
    pub(super) shared: Arc<Shared>,
    pub(super) tokio: Tokio,
    pub(super) key: SecretKey,
    pub(super) incarnation: u64,
    pub(super) sequence: u64,
    pub(super) colour: Height,
    pub(super) said: HashSet<Hash>,
}

impl Outlet {
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
            Effect::Committed(committed) => {
                let state = &committed.executed.state;
                if state
                    .height()
                    .0
                    .is_multiple_of(state.parameters().snapshot_interval)
                {
                    self.colour = state.height();
                }
                self.shared.committed(&committed);
            }
            Effect::Dropped(dropped) => self.shared.dropped(dropped),
            Effect::Alarm(alarm) => self.shared.alarm(alarm),
            Effect::Fault { peer, what } => {
                tracing::warn!(%peer, what, "a peer did what no honest one does");
                if let Some(peer) = Peer::from_public_key(&peer) {
                    self.shared.network.penalize(peer, Fault::Forged);
                }
            }
            // The replica's thread does these itself.
            Effect::SetTimer(..)
            | Effect::Admitted { .. }
            | Effect::Evidence(_)
            | Effect::MayVoteFrom(_) => {}
        }
    }

    fn broadcast(&mut self, message: &Message) {
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
        let mut batch: Vec<SignedTransaction> = Vec::new();
        let mut bytes = 0;
        for transaction in transactions {
            bytes += transaction.encoded_bytes();
            batch.push(transaction.signed().clone());
            if bytes >= ENVELOPE_FILL_BYTES || batch.len() >= ENVELOPE_TRANSACTIONS_MAX {
                self.seal(std::mem::take(&mut batch));
                bytes = 0;
            }
        }
        if !batch.is_empty() {
            self.seal(batch);
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

    fn fetch_bodies(&self, from: PublicKey, block: BlockHash, missing: Vec<TxId>) {
        let shared = Arc::clone(&self.shared);
        self.tokio.spawn(async move {
            let Some(peer) = Peer::from_public_key(&from) else {
                return;
            };
            // The one who proposed may be gone; the others have put the same block together.
            let others = shared
                .network
                .peers()
                .into_iter()
                .map(|p| p.peer)
                .filter(|p| *p != peer);
            let sources: Vec<Peer> = std::iter::once(peer).chain(others).take(3).collect();
            for ids in missing.chunks(p2p::BODIES_ASKED_MAX) {
                let ids = ids.to_vec();
                for source in &sources {
                    let request = Request::Bodies { ids: ids.clone() };
                    let Ok(Response::Bodies(bodies)) =
                        shared.network.request(*source, request).await
                    else {
                        continue;
                    };
                    let chain = shared.chain;
                    let verified = tokio::task::spawn_blocking(move || {
                        let decode = |b: &p2p::Payload| SignedTransaction::decode(&b.0).ok();
                        verify_batch(bodies.iter().filter_map(decode).collect(), &chain)
                    });
                    let transactions: Vec<_> = verified
                        .await
                        .unwrap_or_default()
                        .into_iter()
                        .flatten()
                        .collect();
                    let complete = transactions.len() == ids.len();
                    shared.inbox.send(Ask::Input(Input::Bodies {
                        block,
                        transactions,
                    }));
                    if complete {
                        break;
                    }
                }
            }
        });
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

async fn blocks_of(shared: &Shared, peer: Peer, from: Height) -> Vec<(Arc<Block>, Certificate)> {
    let request = Request::Blocks {
        from,
        max: BLOCKS_AT_ONCE,
    };
    let Ok(Response::Blocks(blocks)) = shared.network.request(peer, request).await else {
        return vec![];
    };
    let chain = shared.chain;
    let verify = move || {
        let verify = |payload: &p2p::Payload| {
            let committed = CommittedBlock::decode(&payload.0).ok()?.unverified();
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
