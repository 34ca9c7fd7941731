//! Fetching the blocks below a node's history, in the background: of a node that came by a snapshot, or lost its ledger.
//!
//! [`course`] decides whom to ask and verifies what comes, each block by the hash in the one above; here it is asked for,
//! written and indexed. A segment of blocks is put before the log's at once ([`ledger::store::prepend`]), and the index
//! learns of them then. A crash costs what was collected and not written.
//!
//! # What it may cost others
//! It is a thread of the lowest priority. Nothing is asked for while this node is behind the chain; one question is open
//! at a time; and between two it pauses as long as the last one took to fetch, verify and write.

mod course;
#[cfg(test)]
mod tests;

use super::{background, shared::Shared};
use crate::handle::Backend;
use course::{Course, Having, Question, Step};
use ledger::{
    block::CommittedBlock,
    codec,
    store::{Prepender, StoreError},
    units::Height,
};
use p2p::{Fault, Peer, Request, Response};
use std::{
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::{runtime::Handle as Tokio, sync::watch};

/// How often it looks whether somebody can help, or this node is not behind any more.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// The pause between two answers, at the least and at the most.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How long a peer may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// The lowest priority: whoever votes, executes or answers goes first.
const NICENESS: i32 = 19;

/// Starts the thread. It ends when the first block is here, or soon after `ended` says so.
///
/// # Errors
/// If there can be no thread.
pub(super) fn start(
    shared: Arc<Shared>,
    prepender: Prepender,
    ended: watch::Receiver<bool>,
) -> std::io::Result<JoinHandle<()>> {
    let filler = Filler {
        shared,
        prepender,
        ended,
        tokio: Tokio::current(),
    };
    std::thread::Builder::new()
        .name("backfill".into())
        .spawn(move || {
            background::step_back(NICENESS);
            if let Err(error) = filler.run() {
                tracing::error!(%error, "no more blocks are fetched from before this node's history, until it is started again");
            }
        })
}

struct Filler {
    shared: Arc<Shared>,
    prepender: Prepender,
    ended: watch::Receiver<bool>,
    tokio: Tokio,
}

impl Filler {
    fn run(mut self) -> Result<(), StoreError> {
        let Some(mut course) = self.begin()? else {
            return Ok(());
        };
        loop {
            if self.is_behind() {
                if self.ends_within(LOOK_EVERY) {
                    return Ok(());
                }
                continue;
            }
            let begun = Instant::now();
            match course.next(begun, &self.peers()) {
                Step::Ask(question) => self.ask(&mut course, question),
                Step::Write => self.write(&mut course)?,
                Step::Wait => {
                    if self.ends_within(LOOK_EVERY) {
                        return Ok(());
                    }
                }
                Step::Done => {
                    tracing::info!("all blocks from the first on are here");
                    return Ok(());
                }
            }
            if self.ends_within(begun.elapsed().clamp(PAUSE_MIN, PAUSE_MAX)) {
                return Ok(());
            }
        }
    }

    /// The course down from the log's lowest block, once there is one that is indexed; none when the node ends before.
    fn begin(&mut self) -> Result<Option<Course<Peer>>, StoreError> {
        loop {
            let first = self.shared.blocks.first();
            if first.is_some() && self.shared.index.begins_at() == first {
                let lowest = self.lowest(first.unwrap_or_default())?;
                return Ok(lowest.map(|lowest| Course::below(&lowest)));
            }
            if self.ends_within(LOOK_EVERY) {
                return Ok(None);
            }
        }
    }

    fn lowest(&self, height: Height) -> Result<Option<CommittedBlock>, StoreError> {
        let record = self.shared.blocks.read(height)?;
        let decode =
            |payload: &[u8]| codec::decode_unchecked(payload, ledger::block::BLOCK_BYTES_MAX).ok();
        Ok(record.and_then(|record| decode(&record.payload)))
    }

    /// Whether this node has more pressing things to fetch.
    fn is_behind(&self) -> bool {
        !self.shared.follows() || self.shared.status().sync.is_some()
    }

    fn peers(&self) -> Vec<Having<Peer>> {
        let heard = self.shared.heard();
        let having = heard.iter().map(|(peer, status)| Having {
            peer: *peer,
            earliest: status.earliest_block,
            latest: status.height,
        });
        having.collect()
    }

    fn ask(&mut self, course: &mut Course<Peer>, question: Question<Peer>) {
        let Question { peer, from, count } = question;
        let request = Request::Blocks {
            from,
            max: u32::try_from(count).unwrap_or(u32::MAX),
        };
        let network = self.shared.network.clone();
        let ended = &mut self.ended;
        let answer = self.tokio.block_on(async {
            tokio::select! {
                answer = tokio::time::timeout(PATIENCE, network.request(peer, request)) => answer.ok(),
                _ = ended.wait_for(|ended| *ended) => None,
            }
        });
        let now = Instant::now();
        match answer {
            Some(Ok(Response::Blocks(blocks))) => {
                let blocks: Vec<&[u8]> = blocks.iter().map(|b| b.0.as_slice()).collect();
                if let Err(lie) = course.take(question, &blocks, now) {
                    tracing::warn!(%peer, %lie, "a peer has lied about a block and is not asked for any again");
                    self.shared.network.penalize(peer, Fault::WrongContent);
                }
            }
            // Not there any more, no answer in time, or one that was counted as a lie where it was read.
            _ => course.rest(peer, now),
        }
    }

    fn write(&mut self, course: &mut Course<Peer>) -> Result<(), StoreError> {
        let segment = course.segment();
        self.prepender.prepend(&segment)?;
        // It can be made again from the log: its failure costs an answer, and not the history.
        if let Err(error) = self.shared.index.add_earlier(&segment) {
            tracing::error!(%error, "older transactions are not found by their ids until the node is started again");
        }
        if let Some(first) = segment.first() {
            let (earliest, blocks) = (first.height, segment.len());
            tracing::info!(%earliest, blocks, "fetched and verified blocks from before this node's history");
        }
        Ok(())
    }

    /// Waits so long, or until the node ends; says whether it does.
    fn ends_within(&mut self, time: Duration) -> bool {
        let ended = &mut self.ended;
        self.tokio
            .block_on(async { tokio::time::timeout(time, ended.wait_for(|ended| *ended)).await })
            .is_ok()
    }
}
