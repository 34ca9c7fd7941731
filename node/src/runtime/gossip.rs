//! What is gossiped: checked off the network's task, forwarded if it is right, and handed to the replica.
//!
//! Each channel has a queue and threads of its own: a vote never waits behind a transaction. What does not fit a queue is
//! ignored; it comes again. A message keeps its place in the network's waiting room until the replica is done with it, so
//! that what waits anywhere in this node is bounded, in all and for each peer.
//!
//! # Trust
//!
//! Nothing is forwarded unchecked. So whoever forwards a consensus message whose signature is false, or which is not what
//! was signed, has made it or has not checked it: no honest node does either, and it is rejected, which counts against the
//! peer. What depends on how far a node is (who may vote, which height is under way) is held against nobody. The replica
//! checks everything again: its word is what counts.

use super::{shared::Shared, thread::Ask};
use crate::replica::{
    Input,
    context::Content,
    message::Message,
    signer::{NoSigner, is_signed_for, signer},
    verified::Verified,
};
use ledger::{
    envelope::{Attestation, Envelope},
    keys::{PublicKey, Signature},
    state::entries::ValidatorSets,
    transaction::verify_batch,
    units::Height,
    untrusted::Untrusted,
};
use p2p::{Channel, Gossip, Peer, Place, VERDICT_WITHIN, Verdict};
use std::{
    convert::Infallible,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

/// Messages that wait for their check. As many as the network lets wait, so that its shares for each peer decide.
const CONSENSUS_WAITING_MAX: usize = 2048;
const TRANSACTIONS_WAITING_MAX: usize = 4096;
const ATTESTATIONS_WAITING_MAX: usize = 256;
/// How long a consensus message waits for the replica of a node that starts. What is older is ignored: so there is room for what is
/// said at the end of a long start, and no verdict comes when the network has forgotten the message.
const WAITS_MAX: Duration = VERDICT_WITHIN.saturating_sub(Duration::from_secs(3));
/// Envelopes whose signatures are checked at once: as many as cores would be idle otherwise, and one in line.
const VERIFYING_MAX: usize = 4;

/// A queue, and threads that work on it until it is dropped.
struct Lane<T>(SyncSender<T>);

impl<T: Send + 'static> Lane<T> {
    fn start<W>(name: &str, waiting_max: usize, workers: Vec<W>) -> io::Result<Self>
    where
        W: FnMut(T) + Send + 'static,
    {
        let (sender, receiver) = sync_channel(waiting_max);
        let receiver = Arc::new(Mutex::new(receiver));
        for mut work in workers {
            let receiver = Arc::clone(&receiver);
            let run = move || {
                loop {
                    let next = receiver
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .recv();
                    let Ok(item) = next else { return };
                    // A bug that one message finds must cost that message, and not the channel.
                    let _ = catch_unwind(AssertUnwindSafe(|| work(item)));
                }
            };
            thread::Builder::new().name(name.into()).spawn(run)?;
        }
        Ok(Self(sender))
    }

    /// Queues one, or gives it back if there is no room.
    fn take(&self, item: T) -> Result<(), T> {
        self.0.try_send(item).map_err(|error| match error {
            TrySendError::Full(item) | TrySendError::Disconnected(item) => item,
        })
    }
}

/// The lanes of all channels.
pub(super) struct Lanes {
    consensus: Lane<(Instant, Gossip)>,
    transactions: Lane<Gossip>,
    attestations: Lane<Gossip>,
}

impl Lanes {
    /// Starts their threads. Consensus messages wait, for a while, until `gate` is closed: that is when the replica is to run. Of
    /// validators that start together one is the first, and what it says once must not be lost to those that come a moment later.
    pub(super) fn start(shared: &Arc<Shared>, gate: Receiver<Infallible>) -> io::Result<Self> {
        // Weak, so that a thread that waits keeps nothing of a stopped node.
        let weak = || Arc::downgrade(shared);
        let (votes, claims) = (weak(), weak());
        let mut verified = Verified::new(shared.chain);
        let check_votes = move |(taken, gossip): (Instant, Gossip)| {
            // At once, when there is no other end of the gate any more.
            let _ = gate.recv_timeout(WAITS_MAX.saturating_sub(taken.elapsed()));
            if let Some(shared) = votes.upgrade() {
                consensus(&shared, &mut verified, gossip);
            }
        };
        let check_claims = move |gossip| {
            if let Some(shared) = claims.upgrade() {
                attestation(&shared, &gossip);
            }
        };
        let check_envelopes = |_| {
            let shared = weak();
            move |gossip| {
                if let Some(shared) = shared.upgrade() {
                    transactions(&shared, gossip);
                }
            }
        };
        let envelopes = (0..VERIFYING_MAX).map(check_envelopes).collect();
        Ok(Self {
            // One thread: what a validator says stays in order.
            consensus: Lane::start("votes", CONSENSUS_WAITING_MAX, vec![check_votes])?,
            transactions: Lane::start("envelopes", TRANSACTIONS_WAITING_MAX, envelopes)?,
            attestations: Lane::start(
                "attestations",
                ATTESTATIONS_WAITING_MAX,
                vec![check_claims],
            )?,
        })
    }

    /// Takes a message in; it gets its verdict here or later.
    pub(super) fn take(&self, shared: &Shared, gossip: Gossip) {
        let left_out = match gossip.channel {
            Channel::Consensus => {
                let taken = self.consensus.take((Instant::now(), gossip));
                taken.map_err(|(_, gossip)| gossip)
            }
            Channel::Transactions => self.transactions.take(gossip),
            Channel::Attestations => self.attestations.take(gossip),
        };
        if let Err(gossip) = left_out {
            shared
                .network
                .verdict(gossip.id, gossip.from, Verdict::Ignore);
        }
    }
}

/// Gives the replica what a message said, and the message's place with it.
fn hand_over(shared: &Shared, input: Input, place: Place) {
    if shared.follows() {
        shared.inbox.send(Ask::Gossip { input, place });
    }
}

fn consensus(shared: &Shared, verified: &mut Verified, gossip: Gossip) {
    let verdict = |verdict| shared.network.verdict(gossip.id, gossip.from, verdict);
    let Ok(message) = Message::decode(&gossip.data) else {
        return verdict(Verdict::Reject);
    };
    let newest = shared.pictures().states.back().cloned();
    let Some(state) = newest.filter(|_| shared.follows()) else {
        return verdict(Verdict::Ignore);
    };
    let holds = |content, key: &_, signature: &_| verified.holds(content, key, signature);
    let (said, useful) = judge(&message, state.height(), state.validators(), holds);
    verdict(said);
    if useful {
        let from = gossip.from.public_key();
        hand_over(shared, Input::Message { from, message }, gossip.place);
    }
}

/// The verdict on a consensus message, and whether it is of use to the replica, as seen from after the `committed` height.
fn judge(
    message: &Message,
    committed: Height,
    sets: &ValidatorSets,
    holds: impl FnMut(Content, &PublicKey, &Signature) -> bool,
) -> (Verdict, bool) {
    let (about, under_way) = (message.height(), committed.next());
    let set = if about < under_way {
        return (Verdict::Ignore, false);
    } else if about == under_way {
        &sets.next
    } else if about == under_way.next() {
        &sets.after_next
    } else {
        // Who votes there is not known yet. That somebody is so far ahead is worth knowing, and no more.
        return (Verdict::Ignore, true);
    };
    match signer(message, set, holds) {
        Err(NoSigner::Stranger) => (Verdict::Ignore, false),
        Err(NoSigner::Forged) => (Verdict::Reject, false),
        Ok(_) => match message {
            Message::Proposal(signed, compact) if !is_signed_for(&signed.proposal, compact) => {
                (Verdict::Reject, false)
            }
            _ => (Verdict::Accept, true),
        },
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

fn transactions(shared: &Shared, gossip: Gossip) {
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
        hand_over(shared, Input::Gossiped(transactions), gossip.place);
    } else if let Some(origin) = Peer::from_public_key(&envelope.id.origin) {
        shared.network.penalize(origin, p2p::Fault::Forged);
    }
}

#[cfg(test)]
mod tests;
