//! Block sync: a replica that lags asks a peer for committed blocks, and takes them one height after another.
//!
//! A peer's word on how far it is moves nobody but this node's requests; a block counts when its certificate holds. One
//! request at a time, and one that is not answered is made to another peer.

use super::{
    ConsensusError, Effect, Journal, Replica, Timer,
    context::{self, Chain},
};
use arc_malachitebft_core_consensus as library;
use arc_malachitebft_core_types as core;
use ledger::{
    block::Block, certificate::Certificate, hash::BlockHash, keys::PublicKey, units::Height,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A replica looks whether others are ahead when a height has lasted so long, and as often again.
pub(super) const PATIENCE: Duration = Duration::from_millis(700);
/// Blocks that wait for their turn.
const QUEUE_MAX: usize = 256;
/// Peers whose heights are remembered.
const PEERS_MAX: usize = 256;

/// What is known of others being ahead.
#[derive(Debug, Default)]
pub(super) struct CatchUp {
    heights: BTreeMap<PublicKey, Height>,
    asked: Option<PublicKey>,
    queue: BTreeMap<Height, (PublicKey, Arc<Block>, Certificate)>,
    /// The height whose certificate was given to the library already.
    fed: Option<Height>,
}

impl CatchUp {
    /// A peer seems to be at a height.
    pub(super) fn hint(&mut self, peer: PublicKey, under_way: Height) {
        let Some(committed) = under_way.previous() else {
            return;
        };
        if self.heights.len() >= PEERS_MAX && !self.heights.contains_key(&peer) {
            // Whoever shows least makes room: nobody is crowded out by peers that have nothing to give.
            let least = self.heights.iter().min_by_key(|(_, height)| **height);
            match least.map(|(peer, height)| (*peer, *height)) {
                Some((least, height)) if height < committed => self.heights.remove(&least),
                _ => return,
            };
        }
        let known = self.heights.entry(peer).or_default();
        *known = (*known).max(committed);
    }

    /// The first height from `height` on that is not here.
    fn first_missing(&self, height: Height) -> Height {
        let mut missing = height;
        while self.queue.contains_key(&missing) {
            missing = missing.next();
        }
        missing
    }

    pub(super) fn forget(&mut self, peer: &PublicKey) {
        self.heights.remove(peer);
        if self.asked == Some(*peer) {
            self.asked = None;
        }
    }

    pub(super) fn committed(&mut self, height: Height) {
        self.queue.retain(|h, _| *h > height);
        self.fed = None;
    }

    pub(super) fn has(&self, height: Height) -> bool {
        self.queue.contains_key(&height)
    }

    pub(super) fn block(&self, height: Height, hash: &BlockHash) -> Option<Arc<Block>> {
        self.queue
            .get(&height)
            .filter(|(_, _, c)| c.block == *hash)
            .map(|(_, b, _)| b.clone())
    }

    /// Someone who has the block of `height`; another than the one asked last, if there is one.
    fn provider(&self, height: Height) -> Option<PublicKey> {
        let have = || {
            self.heights
                .iter()
                .filter(|(_, h)| **h >= height)
                .map(|(p, _)| *p)
        };
        let after = self.asked.and_then(|asked| have().find(|p| *p > asked));
        after.or_else(|| have().next())
    }
}

impl Replica {
    pub(super) fn peer_head(&mut self, peer: PublicKey, height: Height, block: BlockHash) {
        self.catch_up.hint(peer, height.next());
        if self.state.next_validators().get(&peer.address()).is_some() {
            self.voting.claim(peer, height, block);
        }
        // One block behind is usual: votes are on their way. Two are not.
        if height > self.height() {
            self.look_ahead(false);
        }
    }

    /// Asks for blocks if someone is ahead. `patience_over`: the height has lasted long, or the last request has.
    pub(super) fn look_ahead(&mut self, patience_over: bool) {
        if self.diverged {
            return;
        }
        let height = self.height();
        let wanted = self.catch_up.first_missing(height);
        if patience_over {
            self.emit(Effect::SetTimer(Timer::CatchUp(height), PATIENCE));
        } else if self.catch_up.asked.is_some() {
            return;
        }
        if self.catch_up.queue.len() >= QUEUE_MAX {
            return;
        }
        if let Some(from) = self.catch_up.provider(wanted) {
            self.catch_up.asked = Some(from);
            self.emit(Effect::FetchBlocks {
                from,
                height: wanted,
            });
        }
    }

    pub(super) fn blocks(
        &mut self,
        peer: PublicKey,
        blocks: Vec<(Arc<Block>, Certificate)>,
        journal: &mut dyn Journal,
    ) -> Result<(), ConsensusError> {
        if self.catch_up.asked == Some(peer) {
            self.catch_up.asked = None;
        }
        if blocks.is_empty() {
            // It has pruned or lied; either way, somebody else.
            self.catch_up.heights.remove(&peer);
        }
        for (block, certificate) in blocks {
            let height = block.header.height;
            let fits = certificate.height == height && certificate.block == block.hash();
            if !fits {
                let what = "a block with another block's certificate".into();
                self.emit(Effect::Fault { peer, what });
                break;
            }
            let first = self.height();
            if (first..first.after(QUEUE_MAX as u64)).contains(&height) {
                self.catch_up
                    .queue
                    .entry(height)
                    .or_insert((peer, block, certificate));
            }
        }
        if !self.pausing {
            self.feed_synced(journal)?;
        }
        Ok(())
    }

    /// Gives the library the certificate of the height under way, if it came. Whether it did is the answer.
    pub(super) fn feed_synced(
        &mut self,
        journal: &mut dyn Journal,
    ) -> Result<bool, ConsensusError> {
        let height = self.height();
        if self.finished || self.diverged || self.catch_up.fed == Some(height) {
            return Ok(false);
        }
        let Some((_, _, certificate)) = self.catch_up.queue.get(&height) else {
            return Ok(false);
        };
        let signatures = certificate.signatures.iter().map(|s| {
            core::ExtendedCommitSignature::new(context::Address(s.validator), s.signature, None)
        });
        let certificate: core::ExtendedCommitCertificate<Chain> = core::ExtendedCommitCertificate {
            height: context::Height(height),
            round: core::Round::new(certificate.round.0),
            value_id: context::Value(certificate.block),
            commit_signatures: signatures.collect(),
        };
        self.catch_up.fed = Some(height);
        // The library wants a peer's name for its log; ours are kept beside the block.
        let Ok(nobody) = library::PeerId::from_bytes(&[0, 1, 7]) else {
            return Ok(false);
        };
        let response = core::ValueResponse::new(nobody, Vec::new().into(), certificate);
        self.consensus
            .feed(library::Input::SyncValueResponse(response), journal)?;
        if self.catch_up.queue.len() < QUEUE_MAX / 2 {
            self.look_ahead(false);
        }
        Ok(true)
    }

    /// A certificate that came with a block does not hold: its sender has lied.
    pub(super) fn reject_synced(&mut self, why: &str) {
        self.catch_up.fed = None;
        if let Some((peer, _, _)) = self.catch_up.queue.remove(&self.height()) {
            self.catch_up.heights.remove(&peer);
            self.catch_up.queue.retain(|_, (from, _, _)| *from != peer);
            let what = format!("a certificate that does not hold: {why}");
            self.emit(Effect::Fault { peer, what });
        }
    }
}
