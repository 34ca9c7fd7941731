//! A chain of four validators, always the same: what there is to sign with, its genesis, and a state as they certify it.

use ledger::{
    block::{CertifiedHeader, Header},
    certificate::{Certificate, CommitSignature, SignedContent},
    genesis::{Genesis, GenesisAccount, GenesisValidator, PROTOCOL_VERSION, Parameters},
    hash::{BlockHash, ChainId},
    keys::SecretKey,
    state::Executed,
    units::{Amount, Power, Round, TimestampMs},
};

/// What signatures are for.
pub const CHAIN: ChainId = ChainId([0xc4; 32]);

/// The validators' are the first four, alice's is the twentieth.
pub fn key(n: u8) -> SecretKey {
    SecretKey::from_seed([n; 32])
}

fn voters() -> Vec<SecretKey> {
    let mut keys: Vec<_> = (1..=4).map(key).collect();
    keys.sort_by_key(SecretKey::address);
    keys
}

/// Its genesis.
pub fn genesis() -> Genesis {
    let validator = |(n, key): (usize, &SecretKey)| GenesisValidator {
        name: format!("node{n}"),
        public_key: key.public_key(),
        power: Power(1),
    };
    Genesis {
        protocol_version: PROTOCOL_VERSION,
        chain_name: "sample".to_owned(),
        time: TimestampMs(1),
        parameters: Parameters::default(),
        validators: voters().iter().enumerate().map(validator).collect(),
        accounts: vec![GenesisAccount {
            name: "alice".to_owned(),
            address: key(20).address(),
            balance: Amount(1_000_000),
        }],
        generated: None,
    }
}

/// The header that all validators have signed of the block after which the state is this.
pub fn certified(executed: &Executed) -> CertifiedHeader {
    let state = &executed.state;
    let set = state.validators().current.clone();
    let header = Header {
        protocol_version: PROTOCOL_VERSION,
        chain: CHAIN,
        height: state.height(),
        round: Round(0),
        parent: BlockHash([0x11; 32]),
        parent_certificate: Default::default(),
        time: TimestampMs(2),
        proposer: key(1).address(),
        transaction_ids: executed.transaction_ids(),
        transactions_root: executed.transactions_root(),
        state_root: state.root(),
        validators: set.hash(),
        next_validators: set.hash(),
    };
    let mut certificate = Certificate {
        height: header.height,
        round: Round(0),
        block: header.hash(),
        signatures: vec![],
    };
    let sign = |key: &SecretKey| CommitSignature {
        validator: key.address(),
        signature: certificate.vote(key.address()).sign(&CHAIN, key),
    };
    certificate.signatures = voters().iter().map(sign).collect();
    CertifiedHeader {
        header,
        certificate,
    }
}
