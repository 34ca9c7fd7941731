//! What the tests of this crate share: a chain of four validators, and states of any size. The same arguments give the same.

use crate::manifest::Manifest;
use ledger::{
    block::{CertifiedHeader, Header},
    certificate::{Certificate, CommitSignature, SignedContent},
    genesis::PROTOCOL_VERSION,
    hash::ChainId,
    keys::SecretKey,
    state::{
        entries::Key,
        tree::{EntryRef, Tree},
    },
    units::{Height, Power, Round, TimestampMs},
    validators::{Validator, ValidatorSet},
};

pub const CHAIN: ChainId = ChainId([5; 32]);
pub const CUT: u64 = 1024;

/// A small random source: xorshift.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 16) % bound
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

pub fn keys(first: u8) -> Vec<SecretKey> {
    let mut keys: Vec<_> = (first..first + 4)
        .map(|n| SecretKey::from_seed([n; 32]))
        .collect();
    keys.sort_by_key(SecretKey::address);
    keys
}

pub fn set_of(keys: &[SecretKey]) -> ValidatorSet {
    let one = |k: &SecretKey| Validator::new(k.public_key(), Power(1));
    ValidatorSet::new(keys.iter().map(one).collect()).unwrap()
}

pub fn set() -> ValidatorSet {
    set_of(&keys(1))
}

/// A tree of these values, each a record.
pub fn tree_of(values: &[Vec<u8>]) -> Tree {
    let mut entries: Vec<_> = values
        .iter()
        .enumerate()
        .map(|(i, value)| {
            let key = Key::Record {
                space: format!("space{}", i % 3),
                key: (i as u64).to_be_bytes().to_vec(),
            };
            (key.place(), key.encode(), value)
        })
        .collect();
    entries.sort();
    let entry =
        |(place, key, value): &(_, Vec<u8>, &Vec<u8>)| (*place, key.clone(), value.to_vec());
    let entries: Vec<_> = entries.iter().map(entry).collect();
    Tree::build(entries.iter().map(|(place, key, value)| EntryRef {
        place: *place,
        key,
        value,
    }))
    .unwrap()
}

/// A tree of `count` entries of up to 100 bytes; a tenth of them differ from seed to seed.
pub fn tree(count: usize, seed: u64) -> Tree {
    let value = |i: usize| {
        let mut random = Random::new(i as u64 + 1);
        if random.chance(10) {
            random = Random::new(seed.wrapping_mul(1_000_003) + i as u64);
        }
        let len = random.below(100);
        (0..len).map(|_| random.next() as u8).collect()
    };
    tree_of(&(0..count).map(value).collect::<Vec<_>>())
}

pub fn sign(header: &Header, keys: &[SecretKey]) -> Certificate {
    let mut certificate = Certificate {
        height: header.height,
        round: Round(0),
        block: header.hash(),
        signatures: vec![],
    };
    let one = |k: &SecretKey| CommitSignature {
        validator: k.address(),
        signature: certificate.vote(k.address()).sign(&CHAIN, k),
    };
    certificate.signatures = keys.iter().map(one).collect();
    certificate
}

pub fn certified_by(tree: &Tree, height: u64, keys: &[SecretKey]) -> CertifiedHeader {
    let set = set_of(keys);
    let header = Header {
        protocol_version: PROTOCOL_VERSION,
        chain: CHAIN,
        height: Height(height),
        round: Round(0),
        parent: Default::default(),
        parent_certificate: Default::default(),
        time: TimestampMs(height * 1_000),
        proposer: keys[0].address(),
        transaction_ids: Default::default(),
        transactions_root: Default::default(),
        state_root: tree.root(),
        validators: set.hash(),
        next_validators: set.hash(),
    };
    let certificate = sign(&header, keys);
    CertifiedHeader {
        header,
        certificate,
    }
}

pub fn certified(tree: &Tree, height: u64) -> CertifiedHeader {
    certified_by(tree, height, &keys(1))
}

pub fn manifest(tree: &Tree, height: u64) -> Manifest {
    let (manifest, _) = Manifest::of_tree(tree, certified(tree, height), set(), CUT).unwrap();
    manifest
}
