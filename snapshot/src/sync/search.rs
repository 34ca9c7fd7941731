//! The search: which of the snapshots that are offered to go for.

use super::{
    GaveUp, Lie, MANIFEST_ASKS_MAX, Output, Wanted,
    joiner::{Joiner, Phase},
    peers::Candidate,
};
use crate::manifest::{Manifest, ManifestError, ManifestId, UntrustedManifest};
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Search {
    since_ms: u64,
    first_offer_ms: Option<u64>,
    /// The newest that verified so far.
    held: Option<Arc<Manifest>>,
    /// The target of a sync that was cut short.
    resume: Option<Arc<Manifest>>,
    /// Why the last one was refused.
    last: Option<String>,
}

impl Search {
    pub(super) const fn new(now_ms: u64, resume: Option<Arc<Manifest>>) -> Self {
        Self {
            since_ms: now_ms,
            first_offer_ms: None,
            held: None,
            resume,
            last: None,
        }
    }
}

impl<P: Clone + Ord> Joiner<P> {
    /// What became of a manifest that was asked for.
    pub(super) fn on_manifest(
        &mut self,
        peer: &P,
        id: ManifestId,
        bytes: &[u8],
        out: &mut Vec<Output<P>>,
    ) {
        // Once the target is frozen nobody's manifest matters.
        let Phase::Search(search) = &mut self.phase else {
            return;
        };
        let claimed = UntrustedManifest::decode(bytes).and_then(|m| {
            let found = m.id();
            if found == id {
                return Ok(m);
            }
            Err(ManifestError::OtherId {
                found: found.0,
                expected: id.0,
            })
        });
        let offered = self.peers.offered_height(peer, &id);
        if let (Ok(m), Some(offered)) = (&claimed, offered)
            && m.height_claimed() != offered
        {
            let found = m.height_claimed();
            let lie = Lie::Height { id, found, offered };
            search.last = Some(lie.to_string());
            return self.ban(peer, lie, out);
        }
        match claimed.and_then(|m| m.verify(&self.config.chain, &self.config.trusted)) {
            Ok(manifest) if manifest.height() < self.config.height_min => {
                self.peers.refuse(peer, id);
            }
            Ok(manifest) => {
                self.peers.succeeded(peer);
                let rank = self.peers.rank(&manifest, &self.config);
                let held = search.held.as_ref();
                if held.is_none_or(|held| self.peers.rank(held, &self.config) < rank) {
                    search.held = Some(Arc::new(manifest));
                }
            }
            Err(error) => {
                search.last = Some(error.to_string());
                self.peers.refuse(peer, id);
                if error.is_lie() {
                    let error = Arc::new(error);
                    self.ban(peer, Lie::Manifest { id, error }, out);
                }
            }
        }
    }

    /// Asks for manifests, and ends the search when it can.
    pub(super) fn go_on_searching(&mut self, now_ms: u64, out: &mut Vec<Output<P>>) {
        let Phase::Search(search) = &mut self.phase else {
            return;
        };
        if let Some(resume) = &search.resume
            && self.peers.providers(&resume.id()).next().is_some()
        {
            let resume = Arc::clone(resume);
            return self.begin_fetch(now_ms, resume, out);
        }
        let has_provider = |m: &Arc<Manifest>| self.peers.providers(&m.id()).next().is_some();
        search.held = search.held.take().filter(has_provider);
        let mut candidates = self.peers.candidates(&self.config);
        candidates.retain(|c| !self.convicted.contains(&c.id));
        if !candidates.is_empty() && search.first_offer_ms.is_none() {
            search.first_offer_ms = Some(now_ms);
        }
        let waited_ms = now_ms.saturating_sub(search.since_ms);
        let since_offer_ms = search.first_offer_ms.map(|at| now_ms.saturating_sub(at));
        let windows_over = since_offer_ms.is_some_and(|ms| ms >= self.config.offer_window_ms);
        let choice_over = since_offer_ms
            .is_some_and(|ms| ms >= self.config.offer_window_ms + self.config.choose_ms);
        let mut newer_hoped_for = false;
        if windows_over {
            let held = search.held.as_ref();
            let held = held.map(|m| self.peers.rank(m, &self.config));
            let mut under_way = self.peers.in_time().count();
            for Candidate { rank, id } in candidates.iter().copied() {
                let height = rank.height;
                if held.is_some_and(|held| held >= rank) {
                    break;
                }
                let wanted = Wanted::Manifest(id);
                newer_hoped_for |= self.peers.is_in_time(wanted);
                // One peer at a time, but none is waited for long.
                let take_long = self
                    .peers
                    .in_time()
                    .filter(|a| a.wanted == wanted)
                    .all(|a| now_ms.saturating_sub(a.since_ms) >= self.config.hedge_ms);
                if take_long
                    && under_way < MANIFEST_ASKS_MAX
                    && let Some(peer) = self.peers.for_manifest(id, height, now_ms)
                {
                    self.peers.asked(&peer, wanted, now_ms);
                    out.push(Output::AskManifest { peer, id });
                    under_way += 1;
                    newer_hoped_for = true;
                }
            }
        }
        if let Some(held) = &search.held {
            if !newer_hoped_for || choice_over {
                let held = Arc::clone(held);
                self.begin_fetch(now_ms, held, out);
            }
            return;
        }
        let nothing = candidates.is_empty() && waited_ms >= self.config.no_snapshot_ms;
        if nothing || waited_ms >= self.config.search_ms_max {
            let releases = self.releases;
            let gave_up = match search.last.take() {
                _ if releases > 0 => GaveUp::Stalled { releases },
                Some(last) => GaveUp::NoneVerified { waited_ms, last },
                None if candidates.is_empty() => GaveUp::NoSnapshot { waited_ms },
                None => GaveUp::NoneVerified {
                    waited_ms,
                    last: "no peer answered".to_owned(),
                },
            };
            self.phase = Phase::Over;
            out.push(Output::GaveUp(gave_up));
        }
    }
}
