//! Whether a node may vote yet. One whose folder was wiped while its key was kept may have voted and not know it.
//!
//! It can have voted at most two heights above what the others can show. So it follows the chain without a word until it
//! knows M, the highest certificate shown by others who hold more than 2/3 of the whole power, and votes from M + 3.
//! A claim counts once this node's own chain has reached it and has that very block: a liar can delay, never hurry.

use ledger::{
    hash::{Address, BlockHash},
    keys::PublicKey,
    units::{Height, Power},
    validators::ValidatorSet,
};
use std::collections::BTreeMap;

/// Heights above M that are left out.
const GAP: u64 = 3;
/// Peers whose first word is kept.
const CLAIMS_MAX: usize = 512;
/// Own blocks that are remembered to compare claims with.
const HASHES_MAX: usize = 100_000;

/// From when on a node may vote.
#[derive(Clone, Debug)]
pub enum Voting {
    /// It knows all it has ever signed.
    Always,
    /// From this height on.
    From(Height),
    /// Not before it has learnt what the others have.
    Learning(Learning),
}

/// What others said first, and the own chain to hold it against.
#[derive(Clone, Debug, Default)]
pub struct Learning {
    /// Where this node's own chain begins: what it was given from a snapshot.
    base: Height,
    claims: BTreeMap<PublicKey, (Height, BlockHash)>,
    hashes: BTreeMap<Height, BlockHash>,
}

impl Voting {
    /// Of a node whose write-ahead log is missing.
    pub fn wiped() -> Self {
        Self::Learning(Learning::default())
    }

    /// Of a node that starts with the write-ahead log it has: `next` is the height it would vote at, `promised` the highest
    /// at which it may have promised anything, and `unknown` the highest at which it may have and the log does not say
    /// what.
    pub fn resume(next: Height, promised: Option<Height>, unknown: Option<Height>) -> Self {
        match promised.max(unknown) {
            Some(highest) if highest > next || unknown >= Some(next) => Self::From(highest.next()),
            _ => Self::Always,
        }
    }

    /// The replica starts with the state of `base`.
    pub(super) fn begin(&mut self, base: Height) {
        if let Self::Learning(learning) = self {
            learning.base = base;
        }
    }

    pub(super) fn may_vote(&self, height: Height) -> bool {
        match self {
            Self::Always => true,
            Self::From(from) => height >= *from,
            Self::Learning(_) => false,
        }
    }

    /// A validator says how far it is. Its first word counts: it can show no less later.
    pub(super) fn claim(&mut self, peer: PublicKey, height: Height, block: BlockHash) {
        if let Self::Learning(Learning { claims, .. }) = self
            && claims.len() < CLAIMS_MAX
        {
            claims.entry(peer).or_insert((height, block));
        }
    }

    pub(super) fn committed(&mut self, height: Height, block: BlockHash) {
        if let Self::Learning(Learning { hashes, .. }) = self {
            hashes.insert(height, block);
            while hashes.len() > HASHES_MAX {
                hashes.pop_first();
            }
        }
    }

    /// Looks whether enough is known, and says from when on this node may vote when it has just found out.
    pub(super) fn learn(
        &mut self,
        own: Height,
        set: &ValidatorSet,
        me: &Address,
    ) -> Option<Height> {
        let Self::Learning(Learning {
            base,
            claims,
            hashes,
        }) = self
        else {
            return None;
        };
        let mut power = Power(0);
        let mut highest = Height::GENESIS;
        for (peer, (height, block)) in claims.iter() {
            let address = peer.address();
            // One that lags behind where this node's chain begins can show no more than it says.
            let shown = height <= base || hashes.get(height) == Some(block);
            match set.get(&address) {
                Some(validator) if address != *me && *height <= own && shown => {
                    power.0 += validator.power.0;
                    highest = highest.max(*height);
                }
                _ => {}
            }
        }
        set.is_quorum(power).then(|| {
            let from = highest.after(GAP);
            *self = Self::From(from);
            from
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::{keys::SecretKey, validators::Validator};

    fn key(n: u8) -> PublicKey {
        SecretKey::from_seed([n; 32]).public_key()
    }

    fn four() -> ValidatorSet {
        let one = |n| Validator::new(key(n), Power(1));
        ValidatorSet::new((0..4).map(one).collect()).unwrap()
    }

    /// What node 0, wiped, learns at `own` when the three others' first words are these.
    fn learnt(base: u64, own: u64, claims: [(u64, u8); 3]) -> Option<Height> {
        let mut voting = Voting::wiped();
        voting.begin(Height(base));
        for (n, (height, block)) in (1..).zip(claims) {
            voting.claim(key(n), Height(height), BlockHash([block; 32]));
        }
        for height in base + 1..=own {
            voting.committed(Height(height), BlockHash([7; 32]));
        }
        voting.learn(Height(own), &four(), &key(0).address())
    }

    /// From when on a node votes whose next height is 10: none for at once.
    fn resumed(promised: Option<u64>, unknown: Option<u64>) -> Option<u64> {
        match Voting::resume(Height(10), promised.map(Height), unknown.map(Height)) {
            Voting::Always => None,
            Voting::From(height) => Some(height.0),
            Voting::Learning(_) => panic!("it was not wiped"),
        }
    }

    #[test]
    fn a_node_whose_promises_are_all_known_votes_at_once() {
        assert_eq!(resumed(None, None), None, "it has never signed");
        assert_eq!(resumed(Some(9), Some(9)), None, "decided since");
        assert_eq!(resumed(Some(10), None), None, "under way when it stopped");
        assert_eq!(resumed(Some(10), Some(8)), None);
    }

    #[test]
    fn one_that_may_have_promised_more_than_it_knows_waits_until_above() {
        assert_eq!(
            resumed(Some(10), Some(10)),
            Some(11),
            "it listened there, and may have voted before"
        );
        assert_eq!(
            resumed(None, Some(12)),
            Some(13),
            "told so by its peers, and started again"
        );
        assert_eq!(
            resumed(Some(25), None),
            Some(26),
            "its ledger has lost blocks"
        );
    }

    #[test]
    fn it_votes_three_above_the_highest_that_the_others_showed() {
        assert_eq!(learnt(0, 20, [(18, 7), (20, 7), (19, 7)]), Some(Height(23)));
    }

    #[test]
    fn a_claim_counts_only_once_the_own_chain_has_that_very_block() {
        assert_eq!(learnt(0, 19, [(18, 7), (20, 7), (19, 7)]), None);
        assert_eq!(learnt(0, 20, [(18, 7), (20, 9), (19, 7)]), None);
    }

    #[test]
    fn a_peer_that_lags_behind_the_snapshot_does_not_hold_it_up_for_ever() {
        assert_eq!(
            learnt(100, 103, [(101, 7), (103, 7), (60, 9)]),
            Some(Height(106))
        );
    }
}
