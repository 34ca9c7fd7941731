//! Block sync: a replica that lags asks a peer for committed blocks, and takes them one height after another.
//!
//! A peer's word on how far it is moves nobody but this node's requests; a block counts when its certificate holds. One
//! request at a time, each to another peer than the last: one that does not answer, or answers with what was not asked
//! for, only costs a turn.

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
    /// The request under way: whom, and for the block of which height.
    asked: Option<(PublicKey, Height)>,
    /// Who was asked last, whatever came of it.
    asked_last: Option<PublicKey>,
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
        if self.asked.is_some_and(|(asked, _)| asked == *peer) {
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
        let last = self.asked_last;
        let after = last.and_then(|last| have().find(|p| *p > last));
        after.or_else(|| have().next())
    }

    fn ask(&mut self, peer: PublicKey, height: Height) {
        self.asked = Some((peer, height));
        self.asked_last = Some(peer);
    }

    /// A peer has answered with blocks of these heights. Without the one that was asked for, it has pruned or lied: it
    /// counts as having nothing until it says how far it is again.
    fn answered(&mut self, peer: &PublicKey, mut heights: impl Iterator<Item = Height>) {
        let asked = self.asked.take_if(|(asked, _)| asked == peer);
        if asked.is_some_and(|(_, height)| heights.all(|h| h != height)) {
            self.heights.remove(peer);
        }
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
            self.catch_up.ask(from, wanted);
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
        let heights = blocks.iter().map(|(block, _)| block.header.height);
        self.catch_up.answered(&peer, heights);
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
        if self.finished || self.catch_up.fed == Some(height) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::keys::SecretKey;

    #[test]
    fn whoever_answers_with_something_else_costs_a_turn_and_no_more() {
        let mut peers = [1, 2, 3].map(|n| SecretKey::from_seed([n; 32]).public_key());
        peers.sort();
        let mut catch_up = CatchUp::default();
        let wanted = Height(5);
        let mut asked = Vec::new();
        for turn in 0..6 {
            for peer in peers {
                catch_up.hint(peer, Height(10));
            }
            let peer = catch_up.provider(wanted).unwrap();
            catch_up.ask(peer, wanted);
            asked.push(peer);
            let answer = if turn % 2 == 0 {
                vec![]
            } else {
                vec![Height(1)]
            };
            catch_up.answered(&peer, answer.into_iter());
            assert_ne!(
                catch_up.provider(wanted),
                Some(peer),
                "asked in turn {turn}"
            );
        }
        assert_eq!(asked, [peers, peers].concat());
    }

    #[test]
    fn whoever_answers_as_asked_stays_a_provider() {
        let peer = SecretKey::from_seed([1; 32]).public_key();
        let mut catch_up = CatchUp::default();
        catch_up.hint(peer, Height(10));
        catch_up.ask(peer, Height(5));
        catch_up.answered(&peer, [Height(5), Height(6)].into_iter());
        assert_eq!(catch_up.provider(Height(7)), Some(peer));
    }
}
