//! A made-up chain of headers whose validators change as a test says, and what is believed of it.

mod answers;
mod following;
mod headers;

use super::{LightBlock, Trusted};
use crate::{
    block::{CertifiedHeader, Header},
    certificate::{Certificate, CommitSignature, SignedContent},
    genesis::{Genesis, GenesisValidator, PROTOCOL_VERSION, Parameters},
    hash::{BlockHash, ChainId},
    keys::SecretKey,
    units::{Height, Power, Round, TimestampMs},
    validators::{Validator, ValidatorSet},
};

pub(super) const CHAIN: ChainId = ChainId([5; 32]);

/// `count` keys from a number on, in the order of their addresses.
pub(super) fn keys(first: u8, count: u8) -> Vec<SecretKey> {
    let seeds = first..first + count;
    let mut keys: Vec<_> = seeds.map(|n| SecretKey::from_seed([n; 32])).collect();
    keys.sort_by_key(SecretKey::address);
    keys
}

pub(super) fn set_of(keys: &[SecretKey]) -> ValidatorSet {
    let one = |k: &SecretKey| Validator::new(k.public_key(), Power(1));
    ValidatorSet::new(keys.iter().map(one).collect()).unwrap()
}

pub(super) fn sign(header: &Header, keys: &[SecretKey]) -> Certificate {
    let mut certificate = Certificate {
        height: header.height,
        round: Round(0),
        block: header.hash(),
        signatures: vec![],
    };
    let one = |k: &SecretKey| CommitSignature {
        validator: k.address(),
        signature: certificate.vote(k.address()).sign(&header.chain, k),
    };
    certificate.signatures = keys.iter().map(one).collect();
    certificate
}

fn header(chain: ChainId, height: u64, keys: &[SecretKey]) -> Header {
    let set = set_of(keys);
    Header {
        protocol_version: PROTOCOL_VERSION,
        chain,
        height: Height(height),
        round: Round(0),
        parent: BlockHash::default(),
        parent_certificate: Default::default(),
        time: TimestampMs(height * 1_000),
        proposer: keys[0].address(),
        transaction_ids: Default::default(),
        transactions_root: Default::default(),
        state_root: Default::default(),
        validators: set.hash(),
        next_validators: set.hash(),
    }
}

pub(super) fn certified(height: u64, keys: &[SecretKey]) -> CertifiedHeader {
    let header = header(CHAIN, height, keys);
    let certificate = sign(&header, keys);
    CertifiedHeader {
        header,
        certificate,
    }
}

pub(super) fn genesis(keys: &[SecretKey]) -> Genesis {
    let validator = |(n, key): (usize, &SecretKey)| GenesisValidator {
        name: format!("node{n}"),
        public_key: key.public_key(),
        power: Power(1),
    };
    Genesis {
        protocol_version: PROTOCOL_VERSION,
        chain_name: "made-up".into(),
        time: TimestampMs(1),
        parameters: Parameters::default(),
        validators: keys.iter().enumerate().map(validator).collect(),
        accounts: vec![],
        generated: None,
    }
}

/// A chain: its genesis, and its blocks from height 1.
pub(super) struct Chain {
    genesis: Genesis,
    blocks: Vec<LightBlock>,
}

impl Chain {
    /// A chain of so many blocks, whose validators at each height are those that `voters` says.
    pub(super) fn new(length: u64, voters: impl Fn(u64) -> Vec<SecretKey>) -> Self {
        let genesis = genesis(&voters(1));
        let mut parent = BlockHash::default();
        let blocks = (1..=length).map(|height| {
            let keys = voters(height);
            let mut header = header(genesis.chain_id(), height, &keys);
            header.parent = parent;
            header.next_validators = set_of(&voters(height + 1)).hash();
            parent = header.hash();
            LightBlock {
                certificate: sign(&header, &keys),
                header,
                validators: set_of(&keys),
            }
        });
        Self {
            blocks: blocks.collect(),
            genesis,
        }
    }

    pub(super) fn trusted(&self) -> Trusted {
        Trusted::genesis(&self.genesis).unwrap()
    }

    pub(super) fn at(&self, height: u64) -> LightBlock {
        self.blocks[usize::try_from(height).unwrap() - 1].clone()
    }

    pub(super) fn last(&self) -> LightBlock {
        self.blocks.last().unwrap().clone()
    }
}
