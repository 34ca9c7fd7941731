//! What peers send: decoded, its signatures checked in batches off the network's task, and handed to the replica; and
//! what they ask, answered.

use super::{
    shared::Shared,
    thread::{Ask, Inbox},
};
use crate::replica::{Input, message::Message};
use ::snapshot::{chunk::ChunkId, manifest::ManifestId};
use ledger::{
    block::CertifiedHeader,
    codec,
    envelope::{Attestation, Envelope},
    transaction::verify_batch,
    units::Height,
    untrusted::Untrusted,
};
use p2p::{Channel, Event, Gossip, Peer, Reply, Request, Response, Verdict};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::sync::{Semaphore, mpsc};

/// Envelopes whose signatures are checked at once: as many as cores would be idle otherwise, and one in line.
const VERIFYING_MAX: usize = 4;
/// Requests of peers that are answered at once.
const ANSWERING_MAX: usize = 64;
/// Bytes of blocks in one answer, after which no further block is added.
const BLOCKS_BYTES_MAX: usize = 4 << 20;
/// How often peers are asked how far they are.
const ASK_HEADS_EVERY: Duration = Duration::from_secs(1);
/// Bytes of a header with its certificate.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Takes what the network says until it stops.
pub(super) async fn serve(shared: Arc<Shared>, mut events: mpsc::Receiver<Event>) {
    let verifying = Arc::new(Semaphore::new(VERIFYING_MAX));
    let answering = Arc::new(Semaphore::new(ANSWERING_MAX));
    let mut heads = tokio::time::interval(ASK_HEADS_EVERY);
    heads.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => take(&shared, event, &verifying, &answering).await,
                None => return,
            },
            _ = heads.tick() => {
                let connected: BTreeSet<Peer> =
                    shared.network.peers().into_iter().map(|info| info.peer).collect();
                shared.keep_heads_of(&connected);
                for peer in connected {
                    tokio::spawn(ask_head(Arc::clone(&shared), peer));
                }
            }
        }
    }
}

async fn take(
    shared: &Arc<Shared>,
    event: Event,
    verifying: &Arc<Semaphore>,
    answering: &Arc<Semaphore>,
) {
    match event {
        Event::Connected { peer } => {
            tracing::info!(%peer, "connected");
            tokio::spawn(ask_head(Arc::clone(shared), peer));
        }
        Event::Disconnected { peer } => {
            tracing::info!(%peer, "disconnected");
            shared.forget(&peer);
            shared.input(Input::PeerGone(peer.public_key()));
        }
        Event::WrongChain { peer, theirs } => {
            tracing::warn!(%peer, theirs, "a peer is of another chain");
        }
        Event::Gossip(gossip) => match gossip.channel {
            Channel::Consensus => consensus(shared, &gossip),
            Channel::Transactions => {
                let Ok(turn) = Arc::clone(verifying).acquire_owned().await else {
                    return;
                };
                let shared = Arc::clone(shared);
                tokio::task::spawn_blocking(move || {
                    transactions(&shared, &gossip);
                    drop(turn);
                });
            }
            Channel::Attestations => attestation(shared, &gossip),
        },
        Event::Request { request, reply, .. } => {
            let Ok(turn) = Arc::clone(answering).try_acquire_owned() else {
                return;
            };
            let shared = Arc::clone(shared);
            tokio::spawn(async move {
                answer(&shared, request, reply).await;
                drop(turn);
            });
        }
    }
}

fn consensus(shared: &Shared, gossip: &Gossip) {
    let (verdict, message) = match Message::decode(&gossip.data) {
        // Forwarded before the signature is checked: the replica does that, and names who lied. Votes must not wait.
        Ok(message) => (Verdict::Accept, Some(message)),
        Err(_) => (Verdict::Reject, None),
    };
    shared.network.verdict(gossip.id, gossip.from, verdict);
    if let Some(message) = message {
        let from = gossip.from.public_key();
        shared.input(Input::Message { from, message });
    }
}

/// What a node says of its root. Only validators' words count: keys cost a stranger nothing.
fn attestation(shared: &Shared, gossip: &Gossip) {
    let verdict = |verdict| shared.network.verdict(gossip.id, gossip.from, verdict);
    let Ok(Attestation { claim, node, .. }) = Attestation::decode(&gossip.data, &shared.chain)
    else {
        return verdict(Verdict::Reject);
    };
    if !shared.is_validator(&node) {
        return verdict(Verdict::Ignore);
    }
    verdict(Verdict::Accept);
    let differs = shared.attestations().heard(node, claim);
    if let Some(differs) = differs {
        shared.differs(differs);
    }
}

fn transactions(shared: &Shared, gossip: &Gossip) {
    let verdict = |verdict| shared.network.verdict(gossip.id, gossip.from, verdict);
    let Ok(envelope) = Envelope::decode(&gossip.data) else {
        return verdict(Verdict::Reject);
    };
    let Ok(envelope) = envelope.verify_origin(&shared.chain) else {
        return verdict(Verdict::Reject);
    };
    let untrusted = envelope
        .transactions
        .into_iter()
        .map(Untrusted::new)
        .collect();
    let checked = verify_batch(untrusted, &shared.chain);
    let all_good = checked.iter().all(Result::is_ok);
    // A bad transaction inside is its origin's fault, whose signature is over it, and not the forwarder's.
    verdict(if all_good {
        Verdict::Accept
    } else {
        Verdict::Ignore
    });
    if all_good {
        let transactions = checked.into_iter().flatten().collect();
        shared.input(Input::Gossiped(transactions));
    } else if let Some(origin) = Peer::from_public_key(&envelope.id.origin) {
        shared.network.penalize(origin, p2p::Fault::Forged);
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

async fn answer(shared: &Arc<Shared>, request: Request, reply: Reply) {
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
            let read = tokio::task::spawn_blocking(move || blocks(&shared, from, max));
            match read.await {
                Ok(Ok(response)) => reply.send(response),
                Ok(Err(error)) => tracing::error!(error, "blocks for a peer cannot be read"),
                Err(_) => {}
            }
        }
        Request::Bodies { ids } => {
            let mut found = match shared.follows() {
                true => ask_bodies(&shared.inbox, ids.clone()).await,
                false => Vec::new(),
            };
            if found.len() < ids.len() {
                found.extend(shared.recent_bodies(&ids));
            }
            found.truncate(ids.len());
            let bodies = found
                .iter()
                .map(|t| codec::encode(t.signed()).into())
                .collect();
            reply.send(Response::Bodies(bodies));
        }
        Request::Root { height } => {
            let shared = Arc::clone(shared);
            let read = move || crate::handle::Backend::root(shared.as_ref(), height).ok();
            let root = tokio::task::spawn_blocking(read).await.unwrap_or_default();
            reply.send(Response::Root(root));
        }
        Request::Manifest { id } => {
            let snapshots = Arc::clone(&shared.snapshots);
            let read = move || snapshots.manifest_for_peer(ManifestId(id));
            let manifest = tokio::task::spawn_blocking(read).await.unwrap_or_default();
            reply.send(Response::Manifest(manifest.map(Into::into)));
        }
        Request::Chunk { id } => {
            let snapshots = Arc::clone(&shared.snapshots);
            let read = move || snapshots.chunk_for_peer(ChunkId(id));
            let chunk = tokio::task::spawn_blocking(read).await.unwrap_or_default();
            reply.send(Response::Chunk(chunk.map(Into::into)));
        }
        // Nothing of the kind is kept here; whoever asks goes elsewhere.
        Request::Proposal { .. } => reply.send(Response::Proposal(None)),
        Request::Envelope(_) => reply.send(Response::Envelope(None)),
        Request::Children { .. } => reply.send(Response::Children(None)),
    }
}

async fn ask_bodies(
    inbox: &Inbox,
    ids: Vec<ledger::hash::TxId>,
) -> Vec<ledger::transaction::VerifiedTransaction> {
    let (answer, taken) = tokio::sync::oneshot::channel();
    if inbox.send(Ask::Bodies { ids, answer }) {
        taken.await.unwrap_or_default()
    } else {
        vec![]
    }
}

fn blocks(shared: &Shared, from: Height, max: u32) -> Result<Response, String> {
    let mut payloads: Vec<p2p::Payload> = Vec::new();
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
