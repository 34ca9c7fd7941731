//! One value of each kind, always the same.

use ledger::{
    block::{Header, UnverifiedBlock},
    certificate::{BlockProposal, Certificate, CommitSignature, SignedContent, Vote, VoteKind},
    envelope::{Attestation, AttestedRoot, Envelope},
    genesis::{Genesis, GenesisAccount, GenesisValidator, PROTOCOL_VERSION, Parameters},
    hash::{
        Address, BlockHash, CertificateHash, ChainId, StateRoot, TransactionIdsHash,
        TransactionsRoot,
    },
    keys::SecretKey,
    transaction::{Operation, Proposal, SignedTransaction, Transaction},
    units::{Amount, Height, Nonce, Power, Round, TimestampMs, Version},
    validators::{Validator, ValidatorSet},
};

pub const CHAIN: ChainId = ChainId([0xc4; 32]);

pub fn key(n: u8) -> SecretKey {
    SecretKey::from_seed([n; 32])
}

pub fn address(n: u8) -> Address {
    key(n).address()
}

/// The keys of four validators, in the order of their addresses.
pub fn voters() -> Vec<SecretKey> {
    let mut keys: Vec<_> = (1..=4).map(key).collect();
    keys.sort_by_key(SecretKey::address);
    keys
}

pub fn validators() -> ValidatorSet {
    let one = |(power, key): (u64, &SecretKey)| Validator::new(key.public_key(), Power(power));
    ValidatorSet::new((1..).zip(&voters()).map(one).collect()).expect("a set")
}

/// One operation of each kind, in the order of their numbers.
pub fn operations() -> Vec<Operation> {
    let space = || "notes".to_owned();
    vec![
        Operation::Transfer {
            to: Address([0xaa; 32]),
            amount: Amount(5),
        },
        Operation::CreateSpace {
            space: space(),
            writers: vec![Address([0xbb; 32])],
        },
        Operation::SetWriters {
            space: space(),
            writers: vec![],
        },
        Operation::Put {
            space: space(),
            key: b"k".to_vec(),
            value: b"value".to_vec(),
            expected: Some(Version(7)),
        },
        Operation::Delete {
            space: space(),
            key: b"k".to_vec(),
            expected: None,
        },
        Operation::Approve {
            proposal: Proposal::Validator {
                public_key: key(9).public_key(),
                power: Power(3),
            },
        },
        Operation::Approve {
            proposal: Proposal::Parameters(Parameters::default()),
        },
    ]
}

pub fn transaction(operations: Vec<Operation>) -> SignedTransaction {
    let unsigned = Transaction {
        chain: CHAIN,
        sender: key(1).public_key(),
        nonce: Nonce(258),
        last_valid: Height(1000),
        operations,
    };
    unsigned.sign(&key(1))
}

pub fn envelope() -> Envelope {
    let transactions = vec![transaction(operations()), transaction(vec![])];
    Envelope::seal(&key(2), &CHAIN, (3, 4), Height(100), transactions)
}

pub fn attestation() -> Attestation {
    let claim = AttestedRoot {
        height: Height(100),
        root: StateRoot([0x55; 32]),
    };
    Attestation::new(&key(2), &CHAIN, claim)
}

pub fn header() -> Header {
    Header {
        protocol_version: PROTOCOL_VERSION,
        chain: CHAIN,
        height: Height(258),
        round: Round(2),
        parent: BlockHash([0x11; 32]),
        parent_certificate: CertificateHash([0x22; 32]),
        time: TimestampMs(1_700_000_000_000),
        proposer: address(1),
        transaction_ids: TransactionIdsHash([0x32; 32]),
        transactions_root: TransactionsRoot([0x33; 32]),
        state_root: StateRoot([0x44; 32]),
        validators: validators().hash(),
        next_validators: validators().hash(),
    }
}

/// The certificate of a block, by the last so many validators: of their powers 1 to 4, those of three are a quorum.
pub fn certificate_by(signers: usize, block: BlockHash) -> Certificate {
    let mut certificate = Certificate {
        height: Height(258),
        round: Round(3),
        block,
        signatures: vec![],
    };
    let sign = |key: &SecretKey| CommitSignature {
        validator: key.address(),
        signature: certificate.vote(key.address()).sign(&CHAIN, key),
    };
    certificate.signatures = voters().iter().skip(4 - signers).map(sign).collect();
    certificate
}

pub fn block() -> UnverifiedBlock {
    UnverifiedBlock {
        header: header(),
        transactions: vec![transaction(operations())],
        parent_certificate: Some(certificate_by(3, BlockHash([0x11; 32]))),
    }
}

pub fn vote(block: Option<BlockHash>) -> Vote {
    Vote {
        kind: VoteKind::Precommit,
        height: Height(258),
        round: Round(3),
        block,
        validator: address(1),
    }
}

pub fn proposal() -> BlockProposal {
    BlockProposal {
        height: Height(258),
        round: Round(3),
        block: BlockHash([0x66; 32]),
        proof_of_lock: Some(Round(1)),
        proposer: address(1),
    }
}

pub fn genesis() -> Genesis {
    let validator = |(n, key): (u64, SecretKey)| GenesisValidator {
        name: format!("node{n}"),
        public_key: key.public_key(),
        power: Power(1),
    };
    Genesis {
        protocol_version: PROTOCOL_VERSION,
        chain_name: "sample".to_owned(),
        time: TimestampMs(1_700_000_000_000),
        parameters: Parameters::default(),
        validators: (0..).zip(voters()).map(validator).collect(),
        accounts: vec![GenesisAccount {
            name: "alice".to_owned(),
            address: address(20),
            balance: Amount(1_000_000),
        }],
        generated: None,
    }
}
