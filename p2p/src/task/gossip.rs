//! Messages out, messages in, verdicts.

use super::Task;
use crate::{
    config::Limits,
    event::Event,
    faults::Fault,
    gossip::{Channel, EDITION_BYTES, Gossip, GossipId, Published, Verdict},
    metrics::{add, add_bytes},
    peer::Peer,
};
use libp2p::{
    PeerId,
    gossipsub::{self, MessageAcceptance, PublishError},
};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// Seconds' worth that may come at once, after a pause. As much again is ignored; beyond that the peer floods.
const BURST_SECONDS: f64 = 2.0;

/// How much each peer may still send.
pub(super) struct Rates {
    per_second: f64,
    buckets: HashMap<PeerId, Bucket>,
}

struct Bucket {
    tokens: f64,
    filled: Instant,
}

#[derive(Debug, PartialEq, Eq)]
enum Pace {
    Fine,
    TooFast,
    Flood,
}

impl Rates {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            per_second: f64::from(limits.gossip_per_second_max),
            buckets: HashMap::new(),
        }
    }

    fn count(&mut self, peer: PeerId, now: Instant) -> Pace {
        let full = self.per_second * BURST_SECONDS;
        let bucket = self.buckets.entry(peer).or_insert(Bucket {
            tokens: full,
            filled: now,
        });
        let passed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.filled = now;
        bucket.tokens = (bucket.tokens + passed * self.per_second).min(full) - 1.0;
        if bucket.tokens >= 0.0 {
            Pace::Fine
        } else if bucket.tokens > -full {
            Pace::TooFast
        } else {
            Pace::Flood
        }
    }

    /// Forgets buckets that are full again.
    pub(super) fn forget_the_idle(&mut self, now: Instant) {
        let full_after = Duration::from_secs_f64(2.0 * BURST_SECONDS);
        self.buckets
            .retain(|_, bucket| now.saturating_duration_since(bucket.filled) < full_after);
    }
}

impl Task {
    pub(super) fn publish(
        &mut self,
        channel: Channel,
        data: Vec<u8>,
        done: oneshot::Sender<Published>,
    ) {
        let bytes = data.len();
        let topic = self.topics.iter().find(|(_, c)| **c == channel);
        let Some(topic) = topic.map(|(topic, _)| topic.clone()) else {
            return;
        };
        let outcome = match self.gossipsub().publish(topic, data) {
            Ok(_) => Published::Sent,
            Err(PublishError::Duplicate) => Published::Known,
            Err(PublishError::NoPeersSubscribedToTopic) => Published::NoPeers,
            Err(PublishError::AllQueuesFull(_)) => Published::Dropped,
            Err(error) => {
                tracing::error!(%channel, %error, "a message could not be published");
                Published::Dropped
            }
        };
        let counters = &self.shared.counters;
        match outcome {
            Published::Sent => {
                add(&counters.gossip_out_messages, 1);
                add_bytes(&counters.gossip_out_bytes, bytes);
            }
            Published::NoPeers => add(&counters.gossip_unheard, 1),
            Published::Known | Published::Dropped => {}
        }
        // The publisher need not wait to hear.
        let _ = done.send(outcome);
    }

    pub(super) fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            } => {
                if !self.take_in(propagation_source, &message_id, message) {
                    add(&self.shared.counters.gossip_dropped, 1);
                    self.gossipsub().report_message_validation_result(
                        &message_id,
                        &propagation_source,
                        MessageAcceptance::Ignore,
                    );
                }
            }
            gossipsub::Event::Subscribed { peer_id, topic } => {
                if self.topics.get(&topic) == Some(&Channel::Consensus) {
                    self.on_subscribed(peer_id);
                }
            }
            gossipsub::Event::SlowPeer {
                peer_id,
                failed_messages,
            } => {
                let missed = failed_messages.priority + failed_messages.non_priority;
                add_bytes(&self.shared.counters.gossip_slow_peer, missed);
                tracing::debug!(peer = %peer_id, missed, "a peer is too slow for gossip");
            }
            gossipsub::Event::GossipsubNotSupported { peer_id } => {
                tracing::debug!(peer = %peer_id, "a peer does not gossip");
            }
            gossipsub::Event::Unsubscribed { .. } => {}
        }
    }

    /// Passes a message on to the node, if there is room.
    fn take_in(
        &mut self,
        source: PeerId,
        message_id: &gossipsub::MessageId,
        message: gossipsub::Message,
    ) -> bool {
        let mut data = message.data;
        add(&self.shared.counters.gossip_in_messages, 1);
        add_bytes(&self.shared.counters.gossip_in_bytes, data.len());
        match self.rates.count(source, Instant::now()) {
            Pace::Fine => {}
            Pace::TooFast => return false,
            Pace::Flood => {
                self.penalize(source, Fault::Flood);
                return false;
            }
        }
        let channel = self.topics.get(&message.topic).copied();
        let (Some(channel), Some(from)) = (channel, self.announce(source)) else {
            return false;
        };
        let Some(id) = GossipId::from_message_id(message_id) else {
            return false;
        };
        // The gate let no message pass that is shorter.
        data.truncate(data.len().saturating_sub(EDITION_BYTES));
        let Some(place) = self.waiting.enter(channel, from, data.len()) else {
            return false;
        };
        let gossip = Gossip {
            channel,
            from,
            id,
            data,
            place,
        };
        self.pass_on(Event::Gossip(gossip))
    }

    pub(super) fn on_verdict(&mut self, id: GossipId, from: Peer, verdict: Verdict) {
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Ignore => MessageAcceptance::Ignore,
            Verdict::Reject => MessageAcceptance::Reject,
        };
        self.gossipsub().report_message_validation_result(
            &id.to_message_id(),
            &from.id(),
            acceptance,
        );
        if verdict == Verdict::Reject {
            add(&self.shared.counters.gossip_rejected, 1);
            self.penalize(from.id(), Fault::Rejected);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_peer_is_ignored_and_a_flood_is_told() {
        let mut rates = Rates::new(&Limits::default());
        let (peer, now) = (PeerId::random(), Instant::now());
        let mut count = |n: usize, now| {
            let mut last = Pace::Fine;
            for _ in 0..n {
                last = rates.count(peer, now);
            }
            last
        };
        assert_eq!(count(20_000, now), Pace::Fine, "a burst");
        assert_eq!(count(1, now), Pace::TooFast);
        let later = now + Duration::from_secs(1);
        assert_eq!(count(9_999, later), Pace::Fine, "a second's worth");
        assert_eq!(count(19_999, later), Pace::TooFast);
        assert_eq!(count(2, later), Pace::Flood);
        let other = rates.count(PeerId::random(), later);
        assert_eq!(other, Pace::Fine, "the others are not concerned");
        rates.forget_the_idle(later + Duration::from_secs(10));
        assert!(rates.buckets.is_empty());
    }
}
