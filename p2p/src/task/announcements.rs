//! Who is connected and who no longer: news that is never dropped, in a queue that cannot grow without bound.
//!
//! If the node is slow to hear them, a connection that came and went in the meantime is not mentioned. For each peer at
//! most two announcements wait: that it went, and that it came back.

use crate::{event::Event, peer::Peer};
use std::collections::VecDeque;
use tokio::sync::mpsc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    Came,
    Went,
}

#[derive(Default)]
pub(super) struct Announcements {
    queue: VecDeque<(Peer, News)>,
}

impl Announcements {
    pub(super) fn came(&mut self, peer: Peer) {
        self.queue.push_back((peer, News::Came));
    }

    pub(super) fn went(&mut self, peer: Peer) {
        let last = self.queue.iter().rposition(|(other, _)| *other == peer);
        match last.and_then(|at| self.queue.get(at).map(|entry| (at, entry.1))) {
            // Nobody has heard yet that it came.
            Some((at, News::Came)) => {
                self.queue.remove(at);
            }
            Some((_, News::Went)) | None => self.queue.push_back((peer, News::Went)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
    }

    /// Passes on as many as there is room for. To be called before anything else is passed on.
    pub(super) fn flush(&mut self, events: &mpsc::Sender<Event>) {
        while let Some((peer, news)) = self.queue.front().copied() {
            let Ok(room) = events.try_reserve() else {
                return;
            };
            room.send(match news {
                News::Came => Event::Connected { peer },
                News::Went => Event::Disconnected { peer },
            });
            self.queue.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::keys::SecretKey;

    fn peer(seed: u8) -> Peer {
        Peer::from_public_key(&SecretKey::from_seed([seed; 32]).public_key()).expect("a key")
    }

    /// A node that hears nothing while peers come and go a thousand times: the queue stays short, and what it hears
    /// afterwards is consistent with what it heard before.
    #[test]
    fn a_peer_that_flaps_takes_two_places_at_most() {
        let (events, mut heard) = mpsc::channel(1);
        let mut news = Announcements::default();
        news.came(peer(1));
        news.flush(&events);
        for _ in 0..1000 {
            news.went(peer(1));
            news.came(peer(1));
            news.came(peer(2));
            news.went(peer(2));
            news.flush(&events);
        }
        assert_eq!(
            news.queue,
            [(peer(1), News::Went), (peer(1), News::Came)],
            "and nothing of the other"
        );
        let mut told = Vec::new();
        while let Ok(event) = heard.try_recv() {
            told.push(format!("{event:?}"));
            news.flush(&events);
        }
        let one = peer(1);
        let expected = [
            format!("Connected {{ peer: {one:?} }}"),
            format!("Disconnected {{ peer: {one:?} }}"),
            format!("Connected {{ peer: {one:?} }}"),
        ];
        assert_eq!(told, expected);
    }
}
