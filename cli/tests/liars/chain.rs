//! A chain of two blocks, made here, and a node of it that answers as the real ones do, but for what a test bends.

use crate::server::{serve, status};
use cli::api;
use ledger::{
    block::{CommittedBlock, Header, UnverifiedBlock},
    certificate::{Certificate, CommitSignature, SignedContent},
    codec,
    genesis::{Genesis, GenesisAccount, GenesisValidator, PROTOCOL_VERSION, Parameters},
    hash::{Address, BlockHash, CertificateHash, TxId},
    keys::SecretKey,
    state::{
        Execution, State, View,
        entries::{self, Entry, Key},
        tree::{Change, Op, PageLimits, Place, PlaceRange, Prefix},
    },
    transaction::{Operation, SignedTransaction, Transaction},
    units::{Amount, Height, Nonce, Power, Round, TimestampMs},
    untrusted::Untrusted,
};
use serde_json::{Value, json};
use std::sync::Arc;

/// What stands for a path's answer: its HTTP status too, since what is absent is answered with a proof.
type Said = (u16, Value);

pub struct Chain {
    pub genesis: Genesis,
    pub alice: SecretKey,
    validator: SecretKey,
    states: Vec<State>,
    blocks: Vec<CommittedBlock>,
    ids: Vec<TxId>,
}

impl Chain {
    /// Alice makes a space and a record, and tries to send more than she has.
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
                balance: Amount(1_000),
            }],
            generated: None,
        };
        let states = vec![State::genesis(&genesis).unwrap()];
        let mut chain = Self {
            genesis,
            alice,
            validator,
            states,
            blocks: vec![],
            ids: vec![],
        };
        let notes = || "notes".to_owned();
        chain.commit(vec![
            Operation::CreateSpace {
                space: notes(),
                writers: vec![],
            },
            Operation::Put {
                space: notes(),
                key: b"hello".to_vec(),
                value: b"world".to_vec(),
                expected: None,
            },
        ]);
        chain.commit(vec![Operation::Transfer {
            to: Address([9; 32]),
            amount: Amount(1_000_000),
        }]);
        chain
    }

    /// Gives its last state a record that no transaction made, and another that none changed.
    pub fn spoil(&mut self) {
        let state = self.states.pop().unwrap();
        let mut tree = state.tree().clone();
        let name = |key: &str| ("notes".to_owned(), key.as_bytes().to_vec());
        let hello: entries::Record = View::from(state.clone())
            .entry(&name("hello"))
            .unwrap()
            .unwrap();
        for (key, value) in [("hello", "WORLD"), ("ghost", "boo")] {
            let record = entries::Record {
                value: value.into(),
                ..hello.clone()
            };
            let key = entries::Record::key(&name(key));
            let (bytes, value) = (key.encode(), codec::encode(&record));
            let op = Op::Put {
                key: &bytes,
                value: &value,
            };
            let place = key.place();
            tree.apply(&[Change { place, op }]).unwrap();
        }
        self.states
            .push(State::from_tree(state.height(), tree).unwrap());
    }

    /// The transaction that was applied, and the one that failed.
    pub fn ids(&self) -> [String; 2] {
        [self.ids[0].to_string(), self.ids[1].to_string()]
    }

    fn commit(&mut self, operations: Vec<Operation>) {
        let chain = self.genesis.chain_id();
        let parent = self.states.last().unwrap().clone();
        let signed: SignedTransaction = Transaction {
            chain,
            sender: self.alice.public_key(),
            nonce: Nonce(self.blocks.len() as u64),
            last_valid: Height(100),
            operations,
        }
        .sign(&self.alice);
        self.ids.push(signed.id());
        let mut execution = Execution::new(&parent);
        let verified = Untrusted::new(signed.clone()).verify(&chain).unwrap();
        execution.apply(&verified).unwrap();
        let executed = execution.finish();
        let before = self.blocks.last();
        let sets = executed.state.validators();
        let header = Header {
            protocol_version: PROTOCOL_VERSION,
            chain,
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
        let vote = certificate.vote(validator);
        certificate.signatures.push(CommitSignature {
            validator,
            signature: vote.sign(&chain, &self.validator),
        });
        self.blocks.push(CommittedBlock {
            block: UnverifiedBlock {
                header,
                transactions: vec![signed],
                parent_certificate: before.map(|b| b.certificate.clone()),
            },
            certificate,
            outcomes: executed.outcomes.iter().map(|(_, o)| *o).collect(),
        });
        self.states.push(executed.state);
    }

    /// A node whose answers `bend` may change, and its URL.
    pub fn serve(self: &Arc<Self>, bend: impl Fn(&str, &mut Said) + Send + 'static) -> String {
        let chain = Arc::clone(self);
        serve(move |target| {
            let mut said = chain.answer(target);
            bend(target, &mut said);
            said
        })
    }

    /// What an honest node says.
    pub fn answer(&self, target: &str) -> Said {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let height = query.split('&').find_map(|p| p.strip_prefix("height="));
        let latest = self.blocks.len();
        let at = height.map_or(latest, |h| h.parse().unwrap());
        let parts: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
        match parts.as_slice() {
            ["accounts", address] => self.account(address.parse().unwrap(), at),
            ["spaces", space, "records", key] => self.record(space, key, at),
            ["spaces", space] => self.space(space, at),
            ["validators"] => self.validators(at),
            ["blocks", "latest"] => (200, json!(self.block(latest))),
            ["blocks", name] => (200, json!(self.block(name.parse().unwrap()))),
            ["transactions", id] => self.transaction(id),
            ["light", name] => (200, json!(self.light(name.parse().unwrap()))),
            ["roots", at] => self.root(at.parse().unwrap()),
            ["states", at, what] => self.part_of_state(at.parse().unwrap(), what, query),
            ["status"] => {
                let mut status = status("node", latest as u64, true, &[]);
                status["chain_id"] = json!(self.genesis.chain_id());
                (200, status)
            }
            other => panic!("{other:?}"),
        }
    }

    fn evidence(&self, key: &Key, at: usize) -> api::Evidence {
        let state = &self.states[at];
        let proof = state.tree().prove(&key.place());
        let block = at.checked_sub(1).map(|n| &self.blocks[n]);
        api::Evidence {
            height: state.height(),
            state_root: state.root(),
            verified: true,
            proof: Some(hex::encode(codec::encode(&proof))),
            header: block.map(|b| b.block.header.clone()),
            certificate: block.map(|b| b.certificate.clone()),
        }
    }

    fn entry<E: Entry>(&self, name: &E::Name, at: usize) -> Option<E> {
        let view = View::from(self.states[at].clone());
        view.entry::<E>(name).unwrap()
    }

    fn absent(evidence: &api::Evidence) -> Said {
        let error = json!({"code": "not_found", "message": "there is none", "help": ""});
        (404, json!({"error": error, "absence": evidence}))
    }

    fn account(&self, address: Address, at: usize) -> Said {
        let evidence = self.evidence(&Key::Account(address), at);
        let Some(account) = self.entry::<entries::Account>(&address, at) else {
            return Self::absent(&evidence);
        };
        let answer = api::Account {
            name: Some("alice".into()),
            address,
            balance: account.balance,
            nonce: account.nonce,
            next_nonce: account.nonce,
            entries: account.entries,
            evidence,
        };
        (200, json!(answer))
    }

    fn record(&self, space: &str, key: &str, at: usize) -> Said {
        let name = (space.to_owned(), key.as_bytes().to_vec());
        let evidence = self.evidence(&entries::Record::key(&name), at);
        let Some(record) = self.entry::<entries::Record>(&name, at) else {
            return Self::absent(&evidence);
        };
        let answer = api::Record {
            space: space.into(),
            key: key.into(),
            key_hex: hex::encode(key),
            value_hex: hex::encode(&record.value),
            value: String::from_utf8(record.value).ok(),
            version: record.version,
            writer: record.writer,
            written_at: record.written_at,
            evidence,
        };
        (200, json!(answer))
    }

    fn space(&self, name: &str, at: usize) -> Said {
        let space = self.entry::<entries::Space>(name, at).unwrap();
        let answer = api::Space {
            space: name.into(),
            owner: space.owner,
            writers: space.writers,
            changes: space.changes,
            records: 1,
            bytes: 1,
            records_root: None,
            evidence: self.evidence(&Key::Space(name.into()), at),
        };
        (200, json!(answer))
    }

    fn validators(&self, at: usize) -> Said {
        let set = &self.states[at].validators().current;
        let one = |v: &ledger::validators::Validator| api::Validator {
            name: Some("node0".into()),
            address: v.address,
            public_key: v.public_key,
            power: v.power,
        };
        let answer = api::Validators {
            validators: set.iter().map(one).collect(),
            total_power: set.total(),
            evidence: self.evidence(&Key::Validators, at),
        };
        (200, json!(answer))
    }

    pub fn block(&self, height: usize) -> api::Block {
        let committed = &self.blocks[height - 1];
        let header = committed.block.header.clone();
        let transactions = committed.block.transactions.iter();
        api::Block {
            height: header.height,
            hash: header.hash(),
            parent: header.parent,
            time: header.time,
            round: header.round,
            proposer: header.proposer,
            state_root: header.state_root,
            transactions: transactions.map(SignedTransaction::id).collect(),
            outcomes: Some(committed.outcomes.iter().map(|o| o.code).collect()),
            header,
            certificate: committed.certificate.clone(),
        }
    }

    fn light(&self, height: usize) -> api::LightBlock {
        let block = self.block(height);
        api::LightBlock {
            height: block.height,
            hash: block.hash,
            header: block.header,
            certificate: block.certificate,
            validators: self.states[height].validators().current.clone(),
        }
    }

    fn root(&self, at: usize) -> Said {
        let Some(state) = self.states.get(at) else {
            let error = json!({"code": "future_height", "message": "not reached", "help": ""});
            return (404, json!({"error": error}));
        };
        let root = state.root();
        (200, json!({"name": "node", "height": at, "root": root}))
    }

    /// As the real API, without its bounds.
    fn part_of_state(&self, at: usize, what: &str, query: &str) -> Said {
        let named = |name: &str| {
            let mut parts = query.split('&').filter_map(|part| part.split_once('='));
            parts.find(|(n, _)| *n == name).unwrap().1.to_owned()
        };
        let place = |name: &str| -> Place { named(name).parse().unwrap() };
        let state = &self.states[at];
        let (tree, height, state_root) = (state.tree(), state.height(), state.root());
        if what == "parts" {
            let below = Prefix::new(place("prefix"), named("bits").parse().unwrap()).unwrap();
            let parts = tree.subtree(&below).map(|subtree| subtree.parts(4));
            let parts_hex = hex::encode(codec::encode(&parts.unwrap_or_default()));
            return (
                200,
                json!({"height": height, "state_root": state_root, "parts_hex": parts_hex}),
            );
        }
        let (from, to) = (place("from"), place("to"));
        let limits = PageLimits {
            entries: 1,
            bytes: 100,
        };
        let proof = tree.prove_range(PlaceRange { from, to }, limits);
        let proof = hex::encode(codec::encode(&proof));
        (
            200,
            json!({"height": height, "state_root": state_root, "proof": proof}),
        )
    }

    fn transaction(&self, id: &str) -> Said {
        let at = self.ids.iter().position(|i| i.to_string() == id).unwrap();
        let block = self.block(at + 1);
        let failed = at == 1;
        let outcome = self.blocks[at].outcomes[0];
        let answer = json!({
            "id": id,
            "status": if failed { "failed" } else { "committed" },
            "code": failed.then_some("insufficient_balance"),
            "message": outcome.message(),
            "height": block.height,
            "block_hash": block.hash,
            "state_root": block.state_root,
            "index": 0,
            "elapsed_ms": null,
        });
        (200, answer)
    }
}
