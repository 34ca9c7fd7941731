//! Signatures over votes and proposals: checked once, and remembered to hold, since the same are shown again and again.
//!
//! The replica and the threads that check gossip before it is forwarded each have a memory of their own.

use super::context::{Content, sign_bytes};
use ledger::{
    hash::{ChainId, Hash, hash},
    keys::{PublicKey, Signature},
};
use std::collections::HashSet;

/// Signatures that are remembered; then all are forgotten.
const REMEMBERED_MAX: usize = 1 << 14;

/// The signatures of one chain that are known to hold.
#[derive(Debug)]
pub struct Verified {
    chain: ChainId,
    known: HashSet<(Hash, PublicKey, Signature)>,
}

impl Verified {
    /// None yet.
    pub fn new(chain: ChainId) -> Self {
        Self {
            chain,
            known: HashSet::new(),
        }
    }

    /// Whether a signature holds.
    pub fn holds(&mut self, content: Content, key: &PublicKey, signature: &Signature) -> bool {
        let Some((domain, bytes)) = sign_bytes(&self.chain, content) else {
            return false;
        };
        let entry = (hash(domain, &bytes), *key, *signature);
        if self.known.contains(&entry) {
            return true;
        }
        let holds = key.verify(domain, &bytes, signature).is_ok();
        if holds {
            self.remember(entry);
        }
        holds
    }

    /// What this node signed itself needs no checking.
    pub fn trust_own(&mut self, content: Content, key: PublicKey, signature: Signature) {
        if let Some((domain, bytes)) = sign_bytes(&self.chain, content) {
            self.remember((hash(domain, &bytes), key, signature));
        }
    }

    fn remember(&mut self, entry: (Hash, PublicKey, Signature)) {
        if self.known.len() >= REMEMBERED_MAX {
            self.known.clear();
        }
        self.known.insert(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::{
        certificate::{SignedContent, Vote, VoteKind},
        keys::SecretKey,
        units::{Height, Round},
    };

    const CHAIN: ChainId = ChainId([7; 32]);

    fn vote(height: u64, key: &SecretKey) -> Vote {
        Vote {
            kind: VoteKind::Prevote,
            height: Height(height),
            round: Round(0),
            block: None,
            validator: key.address(),
        }
    }

    /// A signature is remembered only for the very thing that was signed.
    #[test]
    fn what_is_remembered_is_what_held() {
        let key = SecretKey::from_seed([1; 32]);
        let public = key.public_key();
        let (good, other) = (vote(11, &key), vote(12, &key));
        let signature = good.sign(&CHAIN, &key);
        let mut forged = signature;
        forged.0[40] ^= 1;
        let mut verified = Verified::new(CHAIN);
        let mut holds =
            |vote: Vote, signature| verified.holds(Content::Vote(vote.into()), &public, &signature);
        for _ in 0..2 {
            assert!(holds(good, signature));
            assert!(!holds(good, forged));
            assert!(!holds(other, signature));
        }
        assert_eq!(verified.known.len(), 1);
    }
}
