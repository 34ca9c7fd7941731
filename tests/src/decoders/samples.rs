//! Good bytes for every decoder, always the same: a chain of four validators, a state with a few of everything, and what they
//! would say and store.

#![allow(
    clippy::expect_used,
    reason = "fixed values, sound or the tests are wrong"
)]

use crate::chain::{CHAIN, certified, genesis, key};
use ledger::{
    block::{CertifiedHeader, UnverifiedBlock},
    certificate::{BlockProposal, SignedContent, Vote, VoteKind},
    codec::encode,
    envelope::{Attestation, AttestedRoot, Envelope},
    genesis::{Genesis, Parameters},
    hash::{Address, Hash, StateRoot, TxId},
    light::LightBlock,
    state::{
        Code, Execution, Outcome, State,
        entries::Key,
        tree::{PageLimits, Part, PlaceRange, Proof, RangeProof, Subtree},
    },
    transaction::{Operation, Proposal, SignedTransaction, Transaction},
    units::{Amount, Height, Nonce, Power, Round, Version},
    untrusted::Untrusted,
    validators::ValidatorSet,
};
use node::{
    config::Config,
    replica::message::{
        CompactBlock, Message, SignedProposal, SignedVote, TimeoutKind, VoteSet, WalRecord,
    },
};
use p2p::{Multiaddr, Payload, Request, Response, SnapshotOffer, Status};
use snapshot::{
    archive::ArchiveWriter,
    chunk::{self, ChunkId},
    manifest::{CHUNK_BYTES_MAX_MIN, Manifest},
    pinpoint::PARTS,
};
use std::path::Path;

/// The first height in the sample of a log's segment.
pub(super) const SEGMENT_FIRST: Height = Height(1000);

pub(super) struct Samples {
    pub genesis: Genesis,
    pub validators: ValidatorSet,
    pub state: State,
    pub transactions: Vec<SignedTransaction>,
    pub envelope: Envelope,
    pub attestation: Attestation,
    pub certified: CertifiedHeader,
    pub manifest: Manifest,
    pub chunk: Vec<u8>,
    /// What the patch is on: the whole of the genesis's state.
    pub base: Subtree,
    /// The first chunk as a patch.
    pub patch: Vec<u8>,
}

fn transactions() -> Vec<SignedTransaction> {
    let space = || "notes".to_owned();
    let put = |n: u8| Operation::Put {
        space: space(),
        key: vec![n; 4],
        value: vec![n; 100],
        expected: None,
    };
    let approve = |proposal| Operation::Approve { proposal };
    let lists = [
        vec![Operation::CreateSpace {
            space: space(),
            writers: vec![Address([1; 32]), Address([2; 32])],
        }],
        (0..20).map(put).collect(),
        vec![
            Operation::Transfer {
                to: Address([3; 32]),
                amount: Amount(5),
            },
            Operation::SetWriters {
                space: space(),
                writers: vec![],
            },
            Operation::Delete {
                space: space(),
                key: vec![0; 4],
                expected: Some(Version(1)),
            },
        ],
        vec![
            approve(Proposal::Parameters(Parameters::default())),
            approve(Proposal::Validator {
                public_key: key(9).public_key(),
                power: Power(3),
            }),
        ],
    ];
    let sign = |(nonce, operations)| {
        let transaction = Transaction {
            chain: CHAIN,
            sender: key(20).public_key(),
            nonce: Nonce(nonce),
            last_valid: Height(1000),
            operations,
        };
        transaction.sign(&key(20))
    };
    (0..).zip(lists).map(sign).collect()
}

/// The header after a state, and a certificate for it.
impl Samples {
    /// The manifest's snapshot as an archive.
    pub fn archive(&self) -> Vec<u8> {
        let cut = self.state.tree().cut(CHUNK_BYTES_MAX_MIN);
        let mut writer = ArchiveWriter::begin(Vec::new(), &self.manifest).expect("in memory");
        for (chunk, subtree) in self.manifest.chunks().iter().zip(cut) {
            let bytes = chunk::encode(&subtree).expect("small");
            let verified = self.manifest.verify_chunk(chunk, &bytes).expect("sound");
            writer.put(&verified, &bytes).expect("in memory");
        }
        writer.finish().expect("in memory").0
    }

    pub fn new() -> Self {
        let genesis = genesis();
        let first = State::genesis(&genesis).expect("sound");
        let transactions = transactions();
        let mut execution = Execution::new(&first);
        for transaction in &transactions {
            let claim = Untrusted::new(transaction.clone());
            let verified = claim.verify(&CHAIN).expect("well signed");
            execution.apply(&verified).expect("admissible");
        }
        let executed = execution.finish();
        let certified = certified(&executed);
        let state = executed.state;
        let validators = state.validators().current.clone();
        let (manifest, subtrees) = Manifest::of_tree(
            state.tree(),
            certified.clone(),
            validators.clone(),
            CHUNK_BYTES_MAX_MIN,
        )
        .expect("its own state");
        let subtree = subtrees.first().expect("one");
        let chunk = chunk::encode(subtree).expect("small");
        let base = first.tree().top().expect("a genesis has entries").clone();
        let below = first.tree().subtree(&subtree.prefix()).expect("as then");
        let id = ChunkId(base.hash());
        let patch = chunk::patch::encode(id, &below, subtree, chunk::BYTES_MAX);
        let patch = patch.expect("small").expect("allowed");
        let claim = AttestedRoot {
            height: Height(1),
            root: state.root(),
        };
        let sent = transactions.clone();
        Self {
            envelope: Envelope::seal(&key(2), &CHAIN, (1, 2), Height(3), sent),
            attestation: Attestation::new(&key(2), &CHAIN, claim),
            genesis,
            validators,
            state,
            transactions,
            certified,
            manifest,
            chunk,
            base,
            patch,
        }
    }

    fn block(&self) -> UnverifiedBlock {
        UnverifiedBlock {
            header: self.certified.header.clone(),
            transactions: self.transactions.clone(),
            parent_certificate: Some(self.certified.certificate.clone()),
        }
    }

    pub fn committed_blocks(&self) -> Vec<Vec<u8>> {
        let outcomes: Vec<_> = self.transactions.iter().map(|_| Outcome::APPLIED).collect();
        let failed = vec![Outcome::from(Code::UnsoundChange)];
        let certificate = &self.certified.certificate;
        // Its header is that of a first block, which has no parent: the other one is nearly taken.
        let first = UnverifiedBlock {
            parent_certificate: None,
            ..self.block()
        };
        vec![
            encode(&(first, certificate, outcomes)),
            encode(&(self.block(), certificate, failed)),
        ]
    }

    fn vote(&self) -> SignedVote {
        let vote = Vote {
            kind: VoteKind::Prevote,
            height: Height(1),
            round: Round(0),
            block: Some(self.certified.certificate.block),
            validator: key(1).address(),
        };
        SignedVote {
            vote,
            signature: vote.sign(&CHAIN, &key(1)),
        }
    }

    fn proposal(&self) -> SignedProposal {
        let proposal = BlockProposal {
            height: Height(1),
            round: Round(1),
            block: self.certified.certificate.block,
            proof_of_lock: Some(Round(0)),
            proposer: key(1).address(),
        };
        SignedProposal {
            proposal,
            signature: proposal.sign(&CHAIN, &key(1)),
        }
    }

    pub fn messages(&self) -> Vec<Message> {
        let votes = || VoteSet(vec![self.vote(); 3]);
        let compact = CompactBlock {
            header: self.certified.header.clone(),
            transactions: self
                .transactions
                .iter()
                .map(SignedTransaction::id)
                .collect(),
            parent_certificate: Some(self.certified.certificate.clone()),
        };
        vec![
            Message::Vote(self.vote()),
            Message::Proposal(self.proposal(), Box::new(compact)),
            Message::Polka(votes()),
            Message::RoundEnded(votes()),
            Message::RoundSkipped(votes()),
        ]
    }

    pub fn wal_records(&self) -> Vec<WalRecord> {
        vec![
            WalRecord::Vote(self.vote()),
            WalRecord::Proposal(self.proposal()),
            WalRecord::Block(Box::new(self.block())),
            WalRecord::Judged {
                round: Round(1),
                valid_round: Some(Round(0)),
                proposer: key(1).address(),
                block: self.certified.certificate.block,
                valid: true,
                synced: false,
            },
            WalRecord::Timeout {
                kind: TimeoutKind::Prevote,
                round: Round(1),
            },
            WalRecord::Polka(VoteSet(vec![self.vote(); 3])),
        ]
    }

    pub fn state_keys(&self) -> Vec<Key> {
        let record = |n: u8| Key::Record {
            space: "notes".to_owned(),
            key: vec![n; 4],
        };
        let proposal = Proposal::Parameters(Parameters::default());
        vec![
            Key::Parameters,
            Key::Validators,
            Key::Account(key(20).address()),
            Key::Space("notes".to_owned()),
            record(1),
            record(99),
            Key::Approvals(proposal),
        ]
    }

    pub fn proofs(&self) -> Vec<Proof> {
        let keys = self.state_keys();
        let prove = |key: &Key| self.state.tree().prove(&key.place());
        keys.iter().map(prove).collect()
    }

    /// What the whole state consists of.
    pub fn state_parts(&self) -> Vec<Part> {
        let top = self.state.tree().top();
        top.map(|top| top.parts(PARTS)).unwrap_or_default()
    }

    /// Of all, of a space, of nothing, and of a page.
    pub fn range_proofs(&self) -> Vec<RangeProof> {
        let tree = self.state.tree();
        let prove = |range, entries| {
            let bytes = u64::MAX;
            tree.prove_range(range, PageLimits { entries, bytes })
        };
        let empty = PlaceRange::from(Key::space_subtree("nothing"));
        vec![
            prove(PlaceRange::ALL, 100),
            prove(PlaceRange::from(Key::space_subtree("notes")), 100),
            prove(empty, 100),
            prove(PlaceRange::ALL, 2),
        ]
    }

    pub fn light_block(&self) -> LightBlock {
        let set = self.state.validators().current.clone();
        LightBlock::new(self.certified.clone(), set)
    }

    pub fn requests(&self) -> Vec<Request> {
        let height = Height(1);
        vec![
            Request::Status,
            Request::Blocks {
                from: height,
                max: 16,
            },
            Request::Bodies {
                ids: vec![TxId([1; 32]); 3],
            },
            Request::Proposal {
                height,
                round: Round(0),
                block: self.certified.certificate.block,
            },
            Request::Envelope(self.envelope.id),
            Request::Manifest { id: Hash([1; 32]) },
            Request::Children {
                height,
                prefix: Payload(vec![5; 8]),
            },
            Request::Light { height },
        ]
    }

    pub fn responses(&self) -> Vec<Response> {
        let payload = || Payload(encode(&self.certified));
        let offer = SnapshotOffer {
            height: Height(1),
            manifest: Hash([1; 32]),
            root: StateRoot([2; 32]),
            bytes: 3,
            chunks: 4,
        };
        let status = Status {
            chain: CHAIN,
            version: 1,
            height: Height(1),
            earliest_block: Height(1),
            head: Some(payload()),
            snapshots: vec![offer; 2],
        };
        vec![
            Response::Status(Box::new(status)),
            Response::Blocks(vec![payload(); 2]),
            Response::Envelope(None),
            Response::Root(Some(self.state.root())),
            Response::NotHere {
                earliest: Height(9),
            },
            Response::Light(Some(payload())),
        ]
    }

    pub fn addresses(&self) -> Vec<Vec<u8>> {
        let peer = p2p::Peer::from_public_key(&key(1).public_key()).expect("a key");
        let address = |text: &str| text.parse::<Multiaddr>().expect("an address").to_vec();
        vec![
            address(&format!("/ip4/127.0.0.1/tcp/26000/p2p/{peer}")),
            address("/dns/node0.example/tcp/1"),
            address("/ip6/::1/udp/1/quic-v1"),
        ]
    }

    pub fn configs(&self) -> Vec<Vec<u8>> {
        let mut config = Config::named("node0");
        config.p2p.peers = vec!["/ip4/127.0.0.1/tcp/26000".to_owned()];
        let text = config.to_toml(Path::new("tintype.toml"));
        vec![
            b"name = \"a\"".to_vec(),
            text.expect("a config").into_bytes(),
        ]
    }

    /// As the fixtures of `ledger::store` have it, whose salt is fixed.
    pub fn log_segment(&self) -> Vec<Vec<u8>> {
        let parts = [
            "54494e545950450000010100010203040506070800000000000003e80000000000000384",
            "00000000000010e10000000000000038c21929b7",
            "a75245430000002500000000000003e8000000000000003801000000ab5d96721350dc97",
            "abababababababababababababababababababababababababababababababab626c6f636b",
        ];
        vec![hex::decode(parts.concat()).expect("hex")]
    }

    /// As [`Self::log_segment`].
    pub fn wal_file(&self) -> Vec<Vec<u8>> {
        let parts = [
            "54494e5459504500000102000102030405060708000000000000000",
            "0ffffffffffffffff0000000000000000000000000000005d3a7ad962",
            "a75245430000000100000000000000000000000000000038020000001e59058037c98dd400",
            "a7524543000000070000000000000007000000000000005d030000005944a668cb095cdb",
            "70726f6d697365",
        ];
        vec![hex::decode(parts.concat()).expect("hex")]
    }
}
