//! Holding what nodes attest at snapshot heights against the own state. Pure.
//!
//! At every snapshot height each node says, signed, which root it has; one that finds its state astray says so at that
//! very height. A word for a height that this node has not reached
//! waits until it has. A node that differs is told of once, and again only after it has agreed: whoever says a wrong root
//! at every height makes one alarm. All is bounded: heights that are compared, nodes, and words of one
//! node that wait.

use ledger::{envelope::AttestedRoot, hash::StateRoot, keys::PublicKey, units::Height};
use std::collections::{BTreeMap, BTreeSet};

/// Own roots that are remembered: of every height, since a node that finds itself astray says so at once.
const HEIGHTS_MAX: usize = 1024;
/// Nodes whose words are remembered.
const NODES_MAX: usize = 512;
/// Words of one node that are remembered.
const WORDS_MAX: usize = 8;

/// A node that has another root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Differs {
    pub(super) node: PublicKey,
    pub(super) height: Height,
    pub(super) here: StateRoot,
    pub(super) theirs: StateRoot,
}

/// What was attested, and what is so here.
#[derive(Debug, Default)]
pub(super) struct Attestations {
    own: BTreeMap<Height, StateRoot>,
    words: BTreeMap<PublicKey, BTreeMap<Height, StateRoot>>,
    /// Nodes whose last comparable word was another root.
    differing: BTreeSet<PublicKey>,
    /// Words that agreed with this node.
    pub(super) agreed_total: u64,
}

impl Attestations {
    /// This node has a root at a height.
    pub(super) fn own(&mut self, height: Height, here: StateRoot) -> Vec<Differs> {
        if self.own.insert(height, here).is_some() {
            return Vec::new();
        }
        while self.own.len() > HEIGHTS_MAX {
            self.own.pop_first();
        }
        let said: Vec<(PublicKey, StateRoot)> = self
            .words
            .iter()
            .filter_map(|(node, words)| Some((*node, *words.get(&height)?)))
            .collect();
        said.into_iter()
            .filter_map(|(node, theirs)| self.compare(node, height, here, theirs))
            .collect()
    }

    fn compare(
        &mut self,
        node: PublicKey,
        height: Height,
        here: StateRoot,
        theirs: StateRoot,
    ) -> Option<Differs> {
        if here == theirs {
            self.agreed_total += 1;
            self.differing.remove(&node);
            return None;
        }
        self.differing.insert(node).then_some(Differs {
            node,
            height,
            here,
            theirs,
        })
    }

    /// A node attests a root; its signature holds.
    pub(super) fn heard(&mut self, node: PublicKey, claim: AttestedRoot) -> Option<Differs> {
        let AttestedRoot {
            height,
            root: theirs,
        } = claim;
        if self.words.len() >= NODES_MAX && !self.words.contains_key(&node) {
            // Of so many some have ceased to be validators: the one whose last word is oldest.
            let last =
                |words: &BTreeMap<Height, StateRoot>| words.last_key_value().map(|(h, _)| *h);
            let oldest = self.words.iter().min_by_key(|(_, words)| last(words));
            let oldest = oldest.map(|(node, _)| *node)?;
            self.words.remove(&oldest);
            self.differing.remove(&oldest);
        }
        let words = self.words.entry(node).or_default();
        if words.get(&height) == Some(&theirs) {
            return None;
        }
        words.insert(height, theirs);
        while words.len() > WORDS_MAX {
            words.pop_first();
        }
        let here = *self.own.get(&height)?;
        self.compare(node, height, here, theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::keys::SecretKey;

    const RIGHT: StateRoot = StateRoot([1; 32]);
    const WRONG: StateRoot = StateRoot([2; 32]);

    fn node(n: u8) -> PublicKey {
        SecretKey::from_seed([n; 32]).public_key()
    }

    fn says(height: u64, root: StateRoot) -> AttestedRoot {
        let height = Height(height);
        AttestedRoot { height, root }
    }

    fn differs(n: u8, height: u64) -> Differs {
        Differs {
            node: node(n),
            height: Height(height),
            here: RIGHT,
            theirs: WRONG,
        }
    }

    #[test]
    fn who_differs_is_named_whoever_came_first_and_once() {
        let mut attestations = Attestations::default();
        assert_eq!(attestations.heard(node(1), says(10, WRONG)), None);
        assert_eq!(attestations.heard(node(2), says(10, RIGHT)), None);
        assert_eq!(attestations.own(Height(10), RIGHT), [differs(1, 10)]);
        assert_eq!(
            attestations.heard(node(1), says(10, WRONG)),
            None,
            "told already"
        );
        assert_eq!(
            attestations.heard(node(3), says(10, WRONG)),
            Some(differs(3, 10))
        );
        assert_eq!(attestations.heard(node(4), says(10, RIGHT)), None);
        assert_eq!(attestations.agreed_total, 2);

        attestations.own(Height(20), RIGHT);
        attestations.own(Height(30), RIGHT);
        attestations.own(Height(40), RIGHT);
        assert_eq!(
            attestations.heard(node(1), says(20, WRONG)),
            None,
            "known to differ"
        );
        assert_eq!(attestations.heard(node(1), says(30, RIGHT)), None);
        assert_eq!(
            attestations.heard(node(1), says(40, WRONG)),
            Some(differs(1, 40)),
            "anew"
        );
    }

    #[test]
    fn nobody_makes_it_remember_more_than_so_much() {
        let mut attestations = Attestations::default();
        for height in 0..2_000 {
            attestations.heard(node(1), says(height, WRONG));
            attestations.own(Height(height), RIGHT);
        }
        assert_eq!(attestations.words[&node(1)].len(), WORDS_MAX);
        assert_eq!(attestations.own.len(), HEIGHTS_MAX);
        for n in 0..u16::try_from(NODES_MAX + 10).unwrap() {
            let mut seed = [0; 32];
            seed[..2].copy_from_slice(&n.to_be_bytes());
            attestations.heard(SecretKey::from_seed(seed).public_key(), says(1, WRONG));
        }
        assert_eq!(attestations.words.len(), NODES_MAX);
    }
}
