//! Counters, read at any time without asking the network task.

use std::sync::atomic::{AtomicU64, Ordering};

/// Declares the counters and what one reads of them.
macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What the network has done since it started, and how many peers it has now.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Metrics {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The live counters.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)*
        }

        impl Counters {
            pub(crate) fn read(&self) -> Metrics {
                Metrics {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                }
            }
        }
    };
}

metrics! {
    /// Gossip messages published here.
    gossip_out_messages,
    /// Bytes of these.
    gossip_out_bytes,
    /// Published when no peer was there to hear.
    gossip_unheard,
    /// Gossip messages received, each once.
    gossip_in_messages,
    /// Bytes of these.
    gossip_in_bytes,
    /// Of these, dropped because the node was too slow to take them or their sender was too fast.
    gossip_dropped,
    /// Of these, rejected as false.
    gossip_rejected,
    /// Messages that a peer was too slow to take, and did not get.
    gossip_slow_peer,
    /// Requests asked of peers.
    requests_out,
    /// Of these, without an answer.
    requests_out_failed,
    /// Requests from peers.
    requests_in,
    /// Of these, refused.
    requests_in_refused,
    /// Bytes of answers sent.
    responses_out_bytes,
    /// Bytes of answers received.
    responses_in_bytes,
    /// Peers connected now.
    peers_connected,
    /// Connections open now.
    connections_open,
    /// Connections opened so far.
    connections_opened,
    /// Incoming connections that were turned away or failed before they were open.
    connections_in_failed,
    /// Dials that failed.
    dials_failed,
    /// Peers blocked so far.
    peers_blocked,
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// Adds a number of bytes.
pub(crate) fn add_bytes(counter: &AtomicU64, bytes: usize) {
    add(counter, bytes as u64);
}

/// Sets a gauge.
pub(crate) fn set(counter: &AtomicU64, count: usize) {
    counter.store(count as u64, Ordering::Relaxed);
}
