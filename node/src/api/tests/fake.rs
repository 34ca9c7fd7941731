//! A node that is made up: one validator, a block whenever a test says so.

use crate::{
    event::Event,
    handle::{
        Answering, Backend, BlockName, Inclusion, NotHere, Refusal, SnapshotInfo, Status,
        SyncProgress, TransactionStatus,
    },
};
use ledger::{
    block::{CertifiedHeader, CommittedBlock, Header, UnverifiedBlock},
    certificate::{Certificate, CommitSignature, SignedContent},
    genesis::{Genesis, GenesisAccount, GenesisValidator, PROTOCOL_VERSION, Parameters},
    hash::{Address, BlockHash, CertificateHash, Hash, StateRoot, TxId, ValidatorSetHash},
    keys::SecretKey,
    state::{Execution, Outcome, State, View},
    transaction::{Operation, SignedTransaction, Transaction, VerifiedTransaction},
    units::{Amount, Height, Nonce, Power, Round, TimestampMs},
    untrusted::Untrusted,
    validators::ValidatorSet,
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};
use tokio::sync::{broadcast, watch};

/// Heights of which the state is kept.
pub const STATES_KEPT: u64 = 8;

pub struct Fake {
    pub genesis: Genesis,
    pub validator: SecretKey,
    pub alice: SecretKey,
    inner: Mutex<Inner>,
    pub events: broadcast::Sender<Event>,
    /// Clients that began to wait for a transaction, and blocks made since: what the waiting wake up for.
    waits: watch::Sender<u64>,
    blocks_made: watch::Sender<u64>,
}

pub struct Inner {
    states: Vec<State>,
    blocks: Vec<CommittedBlock>,
    pending: Vec<VerifiedTransaction>,
    done: BTreeMap<TxId, Inclusion>,
    snapshots: Vec<SnapshotInfo>,
    /// What every transaction is refused with, if anything.
    pub refuse: Option<Refusal>,
    pub sync: Option<SyncProgress>,
    /// Where its blocks begin.
    pub earliest: Height,
    /// What it has of the block before that.
    pub began_after: Option<CertifiedHeader>,
    pub dropped: BTreeMap<TxId, Refusal>,
}

impl Fake {
    pub fn new() -> Self {
        let validator = SecretKey::from_seed([1; 32]);
        let alice = SecretKey::from_seed([2; 32]);
        let genesis = Genesis {
            protocol_version: PROTOCOL_VERSION,
            chain_name: "made-up".into(),
            time: TimestampMs(1_000),
            parameters: Parameters::default(),
            validators: vec![GenesisValidator {
                name: "node0".into(),
                public_key: validator.public_key(),
                power: Power(1),
            }],
            accounts: vec![GenesisAccount {
                name: "alice".into(),
                address: alice.address(),
                balance: Amount(1_000_000),
            }],
            generated: None,
        };
        let inner = Inner {
            states: vec![State::genesis(&genesis).unwrap()],
            blocks: vec![],
            pending: vec![],
            done: BTreeMap::new(),
            snapshots: vec![],
            refuse: None,
            sync: None,
            earliest: Height(1),
            began_after: None,
            dropped: BTreeMap::new(),
        };
        Self {
            genesis,
            validator,
            alice,
            inner: Mutex::new(inner),
            events: broadcast::channel(4).0,
            waits: watch::Sender::new(0),
            blocks_made: watch::Sender::new(0),
        }
    }

    pub fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Returns when a client waits for a transaction that is in no block yet.
    pub async fn until_waited_for(&self) {
        let mut waits = self.waits.subscribe();
        let _ = waits.wait_for(|waits| *waits > 0).await;
    }

    /// A transaction of alice.
    pub fn sign(&self, nonce: u64, operations: Vec<Operation>) -> SignedTransaction {
        self.sign_with(&self.alice, nonce, operations)
    }

    pub fn sign_with(
        &self,
        key: &SecretKey,
        nonce: u64,
        operations: Vec<Operation>,
    ) -> SignedTransaction {
        let transaction = Transaction {
            chain: self.genesis.chain_id(),
            sender: key.public_key(),
            nonce: Nonce(nonce),
            last_valid: Height(1_000),
            operations,
        };
        transaction.sign(key)
    }

    pub fn transfer(&self, nonce: u64, amount: u64) -> SignedTransaction {
        let to = self.validator.address();
        let amount = Amount(amount);
        self.sign(nonce, vec![Operation::Transfer { to, amount }])
    }

    /// Puts transactions into the next block.
    pub fn put_in_block(&self, transactions: Vec<SignedTransaction>) -> CommittedBlock {
        let chain = self.genesis.chain_id();
        let verified = |t: SignedTransaction| Untrusted::new(t).verify(&chain).unwrap();
        self.inner()
            .pending
            .extend(transactions.into_iter().map(verified));
        self.commit()
    }

    /// Makes a block of what is pending.
    pub fn commit(&self) -> CommittedBlock {
        let mut inner = self.inner();
        let parent = inner.states.last().unwrap().clone();
        let transactions = std::mem::take(&mut inner.pending);
        let mut execution = Execution::new(&parent);
        for transaction in &transactions {
            execution.apply(transaction).unwrap();
        }
        let executed = execution.finish();
        let before = inner.blocks.last().cloned();
        let before = before.as_ref();
        let sets = executed.state.validators();
        let header = Header {
            protocol_version: PROTOCOL_VERSION,
            chain: self.genesis.chain_id(),
            height: executed.state.height(),
            round: Round(0),
            parent: before.map_or(BlockHash::default(), |b| b.block.header.hash()),
            parent_certificate: before.map_or(CertificateHash::default(), |b| b.certificate.hash()),
            time: TimestampMs(1_000 + executed.state.height().0),
            proposer: self.validator.address(),
            transaction_ids: executed.transaction_ids(),
            transactions_root: executed.transactions_root(),
            state_root: executed.state.root(),
            validators: sets.current.hash(),
            next_validators: sets.next.hash(),
        };
        let mut certificate = Certificate {
            height: header.height,
            round: Round(0),
            block: header.hash(),
            signatures: vec![],
        };
        let validator = self.validator.address();
        let signature = certificate
            .vote(validator)
            .sign(&header.chain, &self.validator);
        certificate.signatures.push(CommitSignature {
            validator,
            signature,
        });
        for (index, (id, outcome)) in (0..).zip(&executed.outcomes) {
            let committed = Inclusion {
                height: header.height,
                block: header.hash(),
                state_root: header.state_root,
                index,
                outcome: *outcome,
            };
            inner.done.insert(*id, committed);
        }
        let committed = CommittedBlock {
            block: UnverifiedBlock {
                transactions: transactions.iter().map(|t| t.signed().clone()).collect(),
                parent_certificate: before.map(|b| b.certificate.clone()),
                header,
            },
            certificate,
            outcomes: executed.outcomes.iter().map(|(_, o)| *o).collect(),
        };
        inner.blocks.push(committed.clone());
        inner.states.push(executed.state);
        drop(inner);
        self.blocks_made.send_modify(|made| *made += 1);
        let header = &committed.block.header;
        let _ = self.events.send(Event::Block {
            height: header.height,
            round: header.round,
            hash: header.hash(),
            state_root: header.state_root,
            proposer: header.proposer,
            time: header.time,
            transactions: committed.block.transactions.len() as u64,
        });
        committed
    }
}

impl Inner {
    fn head(&self) -> &State {
        self.states.last().unwrap()
    }

    fn take_in(
        &mut self,
        genesis: &Genesis,
        claim: Untrusted<SignedTransaction>,
    ) -> Result<TxId, Refusal> {
        if let Some(refusal) = &self.refuse {
            return Err(refusal.clone());
        }
        let transaction = claim.verify(&genesis.chain_id())?;
        let head = self.head().clone();
        let mut execution = Execution::new(&head);
        for waiting in &self.pending {
            execution.apply(waiting).unwrap();
        }
        execution.apply(&transaction)?;
        self.pending.push(transaction.clone());
        Ok(transaction.id())
    }

    fn status_of(&self, id: &TxId) -> TransactionStatus {
        if let Some(committed) = self.done.get(id) {
            return TransactionStatus::Committed(*committed);
        }
        if let Some(refusal) = self.dropped.get(id) {
            return TransactionStatus::Dropped(refusal.clone());
        }
        if self.pending.iter().any(|t| t.id() == *id) {
            return TransactionStatus::Pending;
        }
        TransactionStatus::Unknown
    }
}

impl Backend for Fake {
    fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    fn status(&self) -> Status {
        let inner = self.inner();
        let head = inner.blocks.last();
        Status {
            name: "node0".into(),
            public_key: self.validator.public_key(),
            chain: self.genesis.chain_id(),
            validator: true,
            voting: true,
            height: inner.head().height(),
            earliest_block: Some(inner.earliest),
            backfill: None,
            head: head.map(|committed| CertifiedHeader {
                header: committed.block.header.clone(),
                certificate: committed.certificate.clone(),
            }),
            state_root: Some(inner.head().root()),
            last_block_transactions: head.map_or(0, |b| b.block.transactions.len() as u64),
            peers: 3,
            p2p: vec!["/ip4/127.0.0.1/tcp/26000".into()],
            mempool: inner.pending.len(),
            snapshot: inner.snapshots.first().copied(),
            sync: inner.sync.clone(),
            alarm: None,
            origin: None,
            disputed: None,
            stands_still: None,
            ready: inner.sync.is_none(),
            spaces: vec![],
        }
    }

    fn state(&self, height: Option<Height>) -> Result<View, NotHere> {
        let inner = self.inner();
        let latest = inner.head().height();
        let asked = height.unwrap_or(latest);
        let earliest = Height((latest.0 + 1).saturating_sub(STATES_KEPT));
        if asked > latest {
            return Err(NotHere::Future { asked, latest });
        }
        if asked < earliest {
            return Err(NotHere::StateGone { earliest });
        }
        Ok(inner.states[usize::try_from(asked.0).unwrap()]
            .clone()
            .into())
    }

    fn next_nonce(&self, address: &Address) -> Nonce {
        let inner = self.inner();
        let account = inner.head().account(address).unwrap_or_default();
        let waiting = inner.pending.iter().filter(|t| t.sender() == *address);
        Nonce(account.nonce.0 + waiting.count() as u64)
    }

    fn block(&self, name: &BlockName) -> Result<CommittedBlock, NotHere> {
        let inner = self.inner();
        let latest = inner.head().height();
        let found = match name {
            BlockName::Latest => inner.blocks.last(),
            BlockName::Height(asked) if *asked > latest => {
                let asked = *asked;
                return Err(NotHere::Future { asked, latest });
            }
            BlockName::Height(asked) if *asked < inner.earliest && asked.0 > 0 => {
                let earliest = inner.earliest;
                return Err(NotHere::Pruned { earliest });
            }
            BlockName::Height(height) => inner
                .blocks
                .iter()
                .find(|b| b.block.header.height == *height),
            BlockName::Hash(prefix) => inner
                .blocks
                .iter()
                .find(|b| b.block.header.hash().to_string().starts_with(prefix)),
        };
        found
            .cloned()
            .ok_or_else(|| NotHere::Unknown(format!("the block {name:?}")))
    }

    fn began_after(&self) -> Option<CertifiedHeader> {
        self.inner().began_after.clone()
    }

    fn validator_set(&self, hash: &ValidatorSetHash) -> Option<ValidatorSet> {
        let inner = self.inner();
        let mut sets = inner.states.iter().map(|s| s.validators().current.clone());
        sets.find(|set| set.hash() == *hash)
    }

    fn transaction_id(&self, prefix: &str) -> Result<TxId, NotHere> {
        let inner = self.inner();
        let pending = inner.pending.iter().map(VerifiedTransaction::id);
        let mut known = inner.done.keys().copied().chain(pending);
        if prefix == "aaaaaaaa" {
            return Err(NotHere::Ambiguous(prefix.into()));
        }
        known
            .find(|id| id.to_string().starts_with(prefix))
            .ok_or_else(|| NotHere::Unknown(format!("the transaction {prefix}")))
    }

    fn transaction(&self, id: &TxId) -> TransactionStatus {
        self.inner().status_of(id)
    }

    fn snapshots(&self) -> Vec<SnapshotInfo> {
        self.inner().snapshots.clone()
    }

    fn manifest(&self, _: Height) -> Result<Vec<u8>, NotHere> {
        Ok(vec![0xca, 0xfe])
    }

    fn chunk(&self, height: Height, id: Hash) -> Result<Vec<u8>, NotHere> {
        match id {
            Hash([7, ..]) => Ok(vec![1, 2, 3]),
            _ => Err(NotHere::Unknown(format!("chunk {id} at height {height}"))),
        }
    }

    fn take_snapshot(&self) -> Result<SnapshotInfo, NotHere> {
        let mut inner = self.inner();
        let head = inner.head();
        let totals = head.tree().totals();
        let info = SnapshotInfo {
            height: head.height(),
            root: head.root(),
            manifest: Hash([7; 32]),
            entries: totals.entries,
            chunks: 1,
            bytes: totals.bytes,
            new_bytes: totals.bytes,
        };
        inner.snapshots.insert(0, info);
        Ok(info)
    }

    fn root(&self, height: Height) -> Result<StateRoot, NotHere> {
        self.state(Some(height)).map(|state| state.root())
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    fn metrics(&self) -> String {
        "tintype_height 0\n".into()
    }

    fn submit(
        &self,
        transactions: Vec<Untrusted<SignedTransaction>>,
    ) -> Answering<'_, Vec<Result<TxId, Refusal>>> {
        let mut inner = self.inner();
        let answers: Vec<_> = transactions
            .into_iter()
            .map(|claim| inner.take_in(&self.genesis, claim))
            .collect();
        Box::pin(std::future::ready(answers))
    }

    fn wait_for(&self, id: TxId, timeout: Duration) -> Answering<'_, TransactionStatus> {
        Box::pin(async move {
            use TransactionStatus::{Pending, Unknown};
            let settled = || !matches!(self.transaction(&id), Pending | Unknown);
            let mut made = self.blocks_made.subscribe();
            let told = made.wait_for(|_| settled());
            self.waits.send_modify(|waits| *waits += 1);
            let _ = tokio::time::timeout(timeout, told).await;
            self.transaction(&id)
        })
    }
}

/// An outcome that explains nothing, for the codes' tests.
pub const fn outcome(code: ledger::state::Code) -> Outcome {
    Outcome { code, found: 0 }
}
