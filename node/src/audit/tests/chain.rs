//! A chain of four validators, made in memory, that can be written as a node's folder after something in it was spoilt.

use crate::config::NodeDir;
use ledger::{
    block::{CertifiedHeader, CommittedBlock, Header, UnverifiedBlock},
    certificate::{Certificate, CommitSignature, SignedContent},
    codec,
    genesis::{Genesis, GenesisAccount, GenesisValidator, PROTOCOL_VERSION, Parameters},
    hash::{Address, ChainId},
    keys::SecretKey,
    state::{Execution, State},
    store::{Log, LogOptions},
    transaction::{Operation, SignedTransaction, Transaction},
    units::{Amount, Height, Nonce, Power, Round, TimestampMs},
    untrusted::Untrusted,
};
use snapshot::store::{Store, write_snapshot};

/// Transactions in each block.
pub const TRANSACTIONS: u64 = 5;

pub struct Chain {
    pub genesis: Genesis,
    pub blocks: Vec<CommittedBlock>,
    pub states: Vec<State>,
}

fn validators() -> Vec<SecretKey> {
    let mut keys: Vec<_> = (1..=4).map(|n| SecretKey::from_seed([n; 32])).collect();
    keys.sort_by_key(SecretKey::address);
    keys
}

fn client() -> SecretKey {
    SecretKey::from_seed([77; 32])
}

fn genesis() -> Genesis {
    let validators = validators();
    let validator = |(i, key): (usize, &SecretKey)| GenesisValidator {
        name: format!("node{i}"),
        public_key: key.public_key(),
        power: Power(1),
    };
    Genesis {
        protocol_version: PROTOCOL_VERSION,
        chain_name: "audited".into(),
        time: TimestampMs(1),
        parameters: Parameters::default(),
        validators: validators.iter().enumerate().map(validator).collect(),
        accounts: vec![GenesisAccount {
            name: "alice".into(),
            address: client().address(),
            balance: Amount(1_000),
        }],
        generated: None,
    }
}

/// The certificate of a header by the first `count` validators.
pub fn certificate(chain: &ChainId, header: &Header, count: usize) -> Certificate {
    let mut certificate = Certificate {
        height: header.height,
        round: header.round,
        block: header.hash(),
        signatures: vec![],
    };
    let sign = |key: &SecretKey| CommitSignature {
        validator: key.address(),
        signature: certificate.vote(key.address()).sign(chain, key),
    };
    certificate.signatures = validators().iter().take(count).map(sign).collect();
    certificate
}

impl Chain {
    pub fn new(height: u64) -> Self {
        let genesis = genesis();
        let state = State::genesis(&genesis).unwrap();
        let mut chain = Self {
            genesis,
            blocks: vec![],
            states: vec![state],
        };
        for _ in 0..height {
            chain.commit();
        }
        chain
    }

    fn transfers(&self) -> Vec<SignedTransaction> {
        let key = client();
        let first = self.states.last().unwrap().account(&key.address());
        let first = first.unwrap().nonce.0;
        let transfer = |n: u64| {
            // Every third fails: outcomes differ.
            let amount = Amount(if n.is_multiple_of(3) { 5_000 } else { 1 });
            let to = Address([u8::try_from(n % 7).unwrap(); 32]);
            Transaction {
                chain: self.genesis.chain_id(),
                sender: key.public_key(),
                nonce: Nonce(n),
                last_valid: Height(1_000),
                operations: vec![Operation::Transfer { to, amount }],
            }
            .sign(&key)
        };
        (first..first + TRANSACTIONS).map(transfer).collect()
    }

    fn commit(&mut self) {
        let chain = self.genesis.chain_id();
        let parent = self.states.last().unwrap();
        let transactions = self.transfers();
        let mut execution = Execution::new(parent);
        for transaction in &transactions {
            let verified = Untrusted::new(transaction.clone()).verify(&chain).unwrap();
            execution.apply(&verified).unwrap();
        }
        let executed = execution.finish();
        let sets = executed.state.validators();
        let height = executed.state.height();
        let before = self.blocks.last();
        let header = Header {
            protocol_version: PROTOCOL_VERSION,
            chain,
            height,
            round: Round(0),
            parent: before.map(|b| b.block.header.hash()).unwrap_or_default(),
            parent_certificate: before.map(|b| b.certificate.hash()).unwrap_or_default(),
            time: TimestampMs(1_000 + height.0),
            proposer: sets.current.proposer(height, Round(0)).address,
            transaction_ids: executed.transaction_ids(),
            transactions_root: executed.transactions_root(),
            state_root: executed.state.root(),
            validators: sets.current.hash(),
            next_validators: sets.next.hash(),
        };
        let committed = CommittedBlock {
            certificate: certificate(&chain, &header, 3),
            block: UnverifiedBlock {
                parent_certificate: before.map(|b| b.certificate.clone()),
                header,
                transactions,
            },
            outcomes: executed.outcomes.iter().map(|(_, o)| *o).collect(),
        };
        self.blocks.push(committed);
        self.states.push(executed.state);
    }

    pub fn block(&mut self, height: u64) -> &mut CommittedBlock {
        &mut self.blocks[usize::try_from(height - 1).unwrap()]
    }

    /// Changes a header, and lets all four validators sign it as it is then: what a lying quorum could do.
    pub fn resign(&mut self, height: u64, change: impl FnOnce(&mut CommittedBlock)) {
        let chain = self.genesis.chain_id();
        let block = self.block(height);
        change(block);
        block.certificate = certificate(&chain, &block.block.header, 4);
    }

    /// Writes the blocks from `first` on as a node's folder.
    pub fn write(&self, dir: &NodeDir, first: u64) {
        std::fs::write(dir.genesis_file(), self.genesis.to_json()).unwrap();
        let segment_bytes_max = 8 << 10;
        let options = LogOptions { segment_bytes_max };
        let (mut log, _) = Log::open_with(&dir.ledger(), options).unwrap();
        let from = usize::try_from(first - 1).unwrap();
        for (height, block) in (first..).zip(&self.blocks[from..]) {
            let hash = block.block.header.hash().into();
            let payload = codec::encode(block);
            log.append(Height(height), &hash, &payload).unwrap();
            // As a node does: what is behind the last one is known to be durable.
            log.sync().unwrap();
        }
    }

    /// Takes a snapshot at a height into the node's folder.
    pub fn snapshot(&self, dir: &NodeDir, height: u64) {
        let index = usize::try_from(height).unwrap();
        let state = &self.states[index];
        let block = &self.blocks[index - 1];
        let certified = CertifiedHeader {
            header: block.block.header.clone(),
            certificate: block.certificate.clone(),
        };
        let store = Store::open(&dir.snapshots()).unwrap();
        let set = state.validators().current.clone();
        let chunk_bytes_max = state.parameters().chunk_bytes_max;
        write_snapshot(&store, state.tree(), certified, set, chunk_bytes_max, None).unwrap();
    }
}
