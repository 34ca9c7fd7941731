//! What the network says: gossip is passed on to be checked, peers are asked how far they are, and what they ask is
//! answered. The loop itself waits for nothing else than the next event.

use super::{gossip::Lanes, shared::Shared, thread::Ask};
use crate::replica::Input;
use ::snapshot::{chunk::ChunkId, manifest::ManifestId};
use ledger::{
    block::CertifiedHeader, codec, hash::TxId, transaction::VerifiedTransaction, units::Height,
};
use p2p::{BODIES_BYTES_MAX, Event, Payload, Peer, Reply, Request, Response};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};

/// Requests of peers that are answered at once.
const ANSWERING_MAX: usize = 64;
/// Bytes of blocks in one answer, after which no further block is added.
const BLOCKS_BYTES_MAX: usize = 4 << 20;
/// How often peers are asked how far they are.
const ASK_HEADS_EVERY: Duration = Duration::from_secs(1);
/// Bytes of a header with its certificate.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Takes what the network says until it stops.
pub(super) async fn serve(shared: Arc<Shared>, lanes: Lanes, mut events: mpsc::Receiver<Event>) {
    let answering = Arc::new(Semaphore::new(ANSWERING_MAX));
    let mut asking = Asking::default();
    let mut heads = tokio::time::interval(ASK_HEADS_EVERY);
    heads.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => take(&shared, event, &lanes, &answering, &mut asking),
                None => return,
            },
            _ = heads.tick() => {
                let connected: BTreeSet<Peer> =
                    shared.network.peers().into_iter().map(|info| info.peer).collect();
                shared.keep_heads_of(&connected);
                asking.0.retain(|_, task| !task.is_finished());
                for peer in connected {
                    asking.ask(&shared, peer);
                }
            }
        }
    }
}

/// Peers that are being asked how far they are. One question at a time to each: a silent one must not take the turns of
/// all other requests.
#[derive(Default)]
struct Asking(HashMap<Peer, JoinHandle<()>>);

impl Asking {
    fn ask(&mut self, shared: &Arc<Shared>, peer: Peer) {
        if self.0.get(&peer).is_none_or(JoinHandle::is_finished) {
            let task = tokio::spawn(ask_head(Arc::clone(shared), peer));
            self.0.insert(peer, task);
        }
    }
}

fn take(
    shared: &Arc<Shared>,
    event: Event,
    lanes: &Lanes,
    answering: &Arc<Semaphore>,
    asking: &mut Asking,
) {
    match event {
        Event::Connected { peer } => {
            tracing::info!(%peer, "connected");
            asking.ask(shared, peer);
        }
        Event::Disconnected { peer } => {
            tracing::info!(%peer, "disconnected");
            shared.forget(&peer);
            shared.input(Input::PeerGone(peer.public_key()));
        }
        Event::WrongChain { peer, theirs } => {
            tracing::warn!(%peer, theirs, "a peer is of another chain");
        }
        Event::Gossip(gossip) => lanes.take(shared, gossip),
        Event::Request {
            from,
            request,
            reply,
        } => {
            let Ok(turn) = Arc::clone(answering).try_acquire_owned() else {
                return;
            };
            let shared = Arc::clone(shared);
            tokio::spawn(async move {
                answer(&shared, from, request, reply).await;
                drop(turn);
            });
        }
    }
}

async fn ask_head(shared: Arc<Shared>, peer: Peer) {
    let Ok(Response::Status(status)) = shared.network.request(peer, Request::Status).await else {
        return;
    };
    let head = match &status.head {
        Some(head) => match codec::decode::<CertifiedHeader>(&head.0, HEAD_BYTES_MAX) {
            Ok(head) if head.header.hash() == head.certificate.block => Some(head),
            _ => return shared.network.penalize(peer, p2p::Fault::Malformed),
        },
        None => None,
    };
    let (height, block) = head
        .as_ref()
        .map_or_else(Default::default, |h| (h.header.height, h.certificate.block));
    shared.hear(peer, *status, head.as_ref());
    let peer = peer.public_key();
    shared.input(Input::PeerHead {
        peer,
        height,
        block,
    });
}

async fn answer(shared: &Arc<Shared>, peer: Peer, request: Request, reply: Reply) {
    match request {
        Request::Status => {
            // The list of snapshots may be busy with the disk.
            let shared = Arc::clone(shared);
            let status = tokio::task::spawn_blocking(move || shared.peer_status()).await;
            if let Ok(status) = status {
                reply.send(Response::Status(Box::new(status)));
            }
        }
        Request::Blocks { from, max } => {
            let shared = Arc::clone(shared);
            let read = move || match blocks(&shared, from, max) {
                Ok(response) => reply.send(response),
                Err(error) => tracing::error!(error, "blocks for a peer cannot be read"),
            };
            // Sent from there: an answer of megabytes is encoded for the wire too.
            let _ = tokio::task::spawn_blocking(read).await;
        }
        Request::Bodies { ids } => {
            let waiting = waiting_bodies(shared, &ids).await;
            let shared = Arc::clone(shared);
            let read = move || reply.send(Response::Bodies(bodies(&shared, &ids, waiting)));
            let _ = tokio::task::spawn_blocking(read).await;
        }
        Request::Root { height } => {
            let shared = Arc::clone(shared);
            let read = move || crate::handle::Backend::root(shared.as_ref(), height).ok();
            let root = tokio::task::spawn_blocking(read).await.unwrap_or_default();
            reply.send(Response::Root(root));
        }
        Request::Manifest { id } => {
            let snapshots = Arc::clone(&shared.snapshots);
            let read = move || snapshots.manifest_for_peer(peer, ManifestId(id));
            let manifest = tokio::task::spawn_blocking(read).await.unwrap_or_default();
            reply.send(Response::Manifest(manifest.map(Into::into)));
        }
        Request::Chunk { id, base } => {
            let snapshots = Arc::clone(&shared.snapshots);
            let read = move || snapshots.chunk_for_peer(peer, ChunkId(id), base.map(ChunkId));
            let chunk = tokio::task::spawn_blocking(read).await.unwrap_or_default();
            reply.send(Response::Chunk(chunk.map(Into::into)));
        }
        Request::Light { height } => {
            let shared = Arc::clone(shared);
            let read = move || {
                let name = crate::handle::BlockName::Height(height);
                let block = crate::handle::Backend::light_block(shared.as_ref(), &name);
                block.ok().map(|block| codec::encode(&block).into())
            };
            let block = tokio::task::spawn_blocking(read).await.unwrap_or_default();
            reply.send(Response::Light(block));
        }
        // Nothing of the kind is kept here; whoever asks goes elsewhere.
        Request::Proposal { .. } => reply.send(Response::Proposal(None)),
        Request::Envelope(_) => reply.send(Response::Envelope(None)),
        Request::Children { .. } => reply.send(Response::Children(None)),
    }
}

/// Bodies that the replica has: of transactions that wait, and of blocks under way.
async fn waiting_bodies(shared: &Shared, ids: &[TxId]) -> Vec<VerifiedTransaction> {
    let (answer, taken) = tokio::sync::oneshot::channel();
    let ids = ids.to_vec();
    if shared.follows() && shared.inbox.send(Ask::Bodies { ids, answer }) {
        taken.await.unwrap_or_default()
    } else {
        vec![]
    }
}

/// An answer's bodies: those that wait, and for the rest those of the last blocks.
fn bodies(shared: &Shared, ids: &[TxId], waiting: Vec<VerifiedTransaction>) -> Vec<Payload> {
    let mut found: BTreeMap<TxId, _> = waiting.into_iter().map(|t| (t.id(), t)).collect();
    let rest: Vec<TxId> = ids
        .iter()
        .filter(|id| !found.contains_key(id))
        .copied()
        .collect();
    if !rest.is_empty() {
        let recent = shared.recent_bodies(&rest).into_iter();
        found.extend(recent.map(|t| (t.id(), t)));
    }
    let mut bytes = 0;
    let encode = |transaction: &VerifiedTransaction| {
        let room = bytes < BODIES_BYTES_MAX;
        let encoded = room.then(|| codec::encode(transaction.signed()))?;
        bytes += encoded.len();
        Some(encoded.into())
    };
    found.values().map_while(encode).collect()
}

fn blocks(shared: &Shared, from: Height, max: u32) -> Result<Response, String> {
    let first = shared.blocks.first();
    let earliest = first.unwrap_or_else(|| shared.latest().next());
    if from < earliest {
        return Ok(Response::NotHere { earliest });
    }
    let mut payloads: Vec<Payload> = Vec::new();
    let mut bytes = 0;
    for i in 0..u64::from(max) {
        let Some(payload) = shared.logged(from.after(i))? else {
            break;
        };
        bytes += payload.len();
        payloads.push(payload.into());
        if bytes >= BLOCKS_BYTES_MAX {
            break;
        }
    }
    Ok(Response::Blocks(payloads))
}
