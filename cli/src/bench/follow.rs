//! Following the chain as a client does: a node's events say that there is a block, and its ids are fetched.

use super::load::Tracker;
use crate::{
    api,
    client::Client,
    failure::{Failure, Result},
};
use ledger::units::Height;
use serde::Deserialize;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

/// How long to wait for an event before the node is asked for its height.
const EVENT_LIMIT: Duration = Duration::from_millis(500);

/// What was seen of the chain.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Blocks.
    pub blocks: u64,
    /// Transactions in them, those of others included.
    pub transactions: u64,
}

/// The thread that follows.
#[derive(Debug)]
pub struct Follower {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

impl Follower {
    /// Follows a node from the block after `head` on.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(client: Client, head: Height, tracker: Arc<Tracker>) -> Result<Self> {
        let failed = |e: std::io::Error| Failure::failed("io", format!("no thread can start: {e}"));
        let stop = Arc::new(AtomicBool::new(false));
        let (heights, news) = mpsc::channel();
        let listener = (client.clone(), Arc::clone(&stop));
        // Detached: it ends with the process if the node sends nothing more.
        let _ = std::thread::Builder::new()
            .name("events".into())
            .spawn(move || listen(&listener.0, &listener.1, &heights))
            .map_err(failed)?;
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("blocks".into())
            .spawn(move || fetch(&client, head, &stopped, &news, &tracker))
            .map_err(failed)?;
        Ok(Self { stop, thread })
    }

    /// Whether it still follows.
    pub fn is_alive(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Ends it.
    pub fn finish(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

/// Passes the heights of new blocks on. A stream that breaks is opened again.
fn listen(client: &Client, stop: &AtomicBool, heights: &mpsc::Sender<Height>) {
    while !stop.load(Ordering::Relaxed) {
        let _ = client.events(|data| {
            let sent = match serde_json::from_str(data) {
                Ok(api::Event::Block(block)) => heights.send(block.height).is_ok(),
                _ => true,
            };
            sent && !stop.load(Ordering::Relaxed)
        });
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Fetches every block up to the newest height that is known.
fn fetch(
    client: &Client,
    head: Height,
    stop: &AtomicBool,
    news: &mpsc::Receiver<Height>,
    tracker: &Tracker,
) -> Seen {
    let mut seen = Seen::default();
    let mut next = head.next();
    while !stop.load(Ordering::Relaxed) {
        let told = news.recv_timeout(EVENT_LIMIT).ok();
        let asked = || {
            client
                .get::<api::Status>("/v1/status")
                .ok()
                .map(|status| status.height)
        };
        let Some(newest) = told.or_else(asked) else {
            continue;
        };
        while next <= newest && !stop.load(Ordering::Relaxed) {
            let Ok(block) = client.get::<Ids>(&format!("/v1/blocks/{next}")) else {
                break;
            };
            tracker.committed(&block.transactions);
            seen.blocks += 1;
            seen.transactions += block.transactions.len() as u64;
            next = next.next();
        }
    }
    seen
}

/// What is read of a block.
#[derive(Deserialize)]
struct Ids {
    transactions: Vec<ledger::hash::TxId>,
}
