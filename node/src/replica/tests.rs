//! What one replica does with what it hears, told message by message: clocks that are wrong, crashes between two records,
//! proposers that propose too much, and a state that has gone astray.

use super::{
    message::{CompactBlock, SignedVote, WalRecord},
    *,
};
use ledger::{
    block::Block,
    certificate::{BlockProposal, SignedContent, Vote, VoteKind},
    codec,
    genesis::{Genesis, GenesisAccount, GenesisValidator, PROTOCOL_VERSION, Parameters},
    hash::BlockHash,
    keys::{PublicKey, SecretKey},
    units::{Amount, Power, TimestampMs},
};
use std::time::Duration;

const NOW: Now = Now {
    unix: TimestampMs(1_000_000),
};
const FIRST: Height = Height(1);

/// Keeps what it is given, as a disk that never fails.
#[derive(Default)]
struct Paper {
    records: Vec<WalRecord>,
    blocks: Vec<CommittedBlock>,
}

impl Journal for Paper {
    fn append(&mut self, _: Height, record: &[u8]) -> Result<(), JournalError> {
        let record = codec::decode(record, codec::ENCODED_BYTES_MAX);
        self.records.push(record.unwrap());
        Ok(())
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        Ok(())
    }

    fn promise_from(&mut self, _: Height) -> Result<(), JournalError> {
        Ok(())
    }

    fn commit(&mut self, block: &CommittedBlock) -> Result<(), JournalError> {
        self.blocks.push(block.clone());
        Ok(())
    }
}

/// A replica with its disk.
struct Node {
    replica: Replica,
    paper: Paper,
    /// What it wants done, since the last look.
    effects: Vec<Effect>,
}

fn genesis(alice: u64) -> Genesis {
    let validator = |n: u8| GenesisValidator {
        name: format!("node{n}"),
        public_key: SecretKey::from_seed([n; 32]).public_key(),
        power: Power(1),
    };
    Genesis {
        protocol_version: PROTOCOL_VERSION,
        chain_name: "replica".into(),
        time: TimestampMs(1),
        parameters: Parameters::default(),
        validators: (1..=4).map(validator).collect(),
        accounts: vec![GenesisAccount {
            name: "alice".into(),
            address: Address([9; 32]),
            balance: Amount(alice),
        }],
        generated: None,
    }
}

/// The validators' keys, in the order of their turns at the first height.
fn keys() -> [SecretKey; 4] {
    let set = genesis(5).validator_set().unwrap();
    let of = |round| {
        let proposer = set.proposer(FIRST, Round(round)).address;
        let mut all = (1..=4).map(|n| SecretKey::from_seed([n; 32]));
        all.find(|key| key.address() == proposer).unwrap()
    };
    [of(0), of(1), of(2), of(3)]
}

impl Node {
    fn start(key: &SecretKey) -> Self {
        Self::start_with(key, State::genesis(&genesis(5)).unwrap(), vec![])
    }

    fn start_with(key: &SecretKey, state: State, wal: Vec<WalRecord>) -> Self {
        let config = Config {
            key: key.clone(),
            chain: genesis(5).chain_id(),
            timeouts: Timeouts::default(),
            idle: Duration::from_secs(1),
            mempool: mempool::Limits::default(),
        };
        let start = Start {
            state,
            head: None,
            wal,
            voting: Voting::Always,
        };
        let mut paper = Paper::default();
        let (replica, effects) = Replica::start(config, start, NOW, &mut paper).unwrap();
        Self {
            replica,
            paper,
            effects,
        }
    }

    fn take(&mut self, input: Input, now: Now) {
        let effects = self.replica.step(input, now, &mut self.paper).unwrap();
        self.effects.extend(effects);
    }

    fn hear(&mut self, message: &Message, now: Now) {
        let from = SecretKey::from_seed([77; 32]).public_key();
        let message = message.clone();
        self.take(Input::Message { from, message }, now);
    }

    /// What it has said since the last look.
    fn says(&mut self) -> Vec<Message> {
        let effects = std::mem::take(&mut self.effects);
        let said = effects.into_iter().filter_map(|effect| match effect {
            Effect::Broadcast(message) => Some(message),
            _ => None,
        });
        said.collect()
    }

    /// For which block it has voted since the last look, and in which step.
    fn votes(&mut self) -> Vec<(VoteKind, Option<BlockHash>)> {
        let votes = self.says().into_iter().filter_map(|m| match m {
            Message::Vote(v) => Some((v.vote.kind, v.vote.block)),
            _ => None,
        });
        votes.collect()
    }
}

/// The first proposer's proposal.
fn proposal(key: &SecretKey) -> (Message, BlockHash) {
    let said = Node::start(key).says();
    let found = said.into_iter().find_map(|m| match &m {
        Message::Proposal(p, _) => Some((m.clone(), p.proposal.block)),
        _ => None,
    });
    found.unwrap()
}

/// The same block as another proposal's, made in another round, at another time.
fn proposed_by(key: &SecretKey, like: &Message, round: u32, time: u64) -> (Message, BlockHash) {
    let Message::Proposal(_, compact) = like else {
        panic!("a proposal");
    };
    let mut compact: CompactBlock = compact.as_ref().clone();
    compact.header.round = Round(round);
    compact.header.time = TimestampMs(time);
    compact.header.proposer = key.address();
    let proposal = BlockProposal {
        height: FIRST,
        round: Round(round),
        block: compact.header.hash(),
        proof_of_lock: None,
        proposer: key.address(),
    };
    let bytes = proposal.sign_bytes(&genesis(5).chain_id());
    let signature = key.sign(BlockProposal::DOMAIN, &bytes);
    let signed = SignedProposal {
        proposal,
        signature,
    };
    let block = signed.proposal.block;
    (Message::Proposal(signed, Box::new(compact)), block)
}

fn prevote(key: &SecretKey, round: u32, block: Option<BlockHash>) -> Message {
    let vote = Vote {
        kind: VoteKind::Prevote,
        height: FIRST,
        round: Round(round),
        block,
        validator: key.address(),
    };
    let signature = key.sign(Vote::DOMAIN, &vote.sign_bytes(&genesis(5).chain_id()));
    Message::Vote(SignedVote { vote, signature })
}

/// A minute behind everybody else.
const LATE: Now = Now {
    unix: TimestampMs(NOW.unix.0 - 60_000),
};

#[test]
fn a_slow_clock_withholds_its_vote_until_a_quorum_finds_the_block_timely() {
    let [first, second, third, slow] = keys();
    let (message, block) = proposal(&first);
    let mut node = Node::start(&slow);
    node.hear(&message, LATE);
    node.hear(&prevote(&first, 0, Some(block)), LATE);
    node.hear(&prevote(&second, 0, Some(block)), LATE);
    assert_eq!(node.votes(), []);
    node.hear(&prevote(&third, 0, Some(block)), LATE);
    let voted = node.votes();
    assert!(
        voted.contains(&(VoteKind::Precommit, Some(block))),
        "{voted:?}"
    );
}

#[test]
fn a_block_that_was_too_early_is_judged_when_it_is_proposed_again_in_its_time() {
    let [first, .., slow] = keys();
    let (message, block) = proposal(&first);
    let mut node = Node::start(&slow);
    node.hear(&message, LATE);
    assert_eq!(node.votes(), []);
    node.hear(&message, NOW);
    assert_eq!(node.votes(), [(VoteKind::Prevote, Some(block))]);
}

#[test]
fn a_crash_between_a_block_and_the_verdict_on_it_costs_no_vote() {
    let [first, .., last] = keys();
    let (message, block) = proposal(&first);
    let mut node = Node::start(&last);
    node.hear(&message, NOW);
    let is_block = |record: &WalRecord| matches!(record, WalRecord::Block(_));
    let at = node.paper.records.iter().position(is_block).unwrap();
    let left = node.paper.records[..=at].to_vec();
    let state = State::genesis(&genesis(5)).unwrap();
    let mut again = Node::start_with(&last, state, left);
    assert_eq!(again.votes(), [(VoteKind::Prevote, Some(block))]);
}

#[test]
fn a_proposer_who_proposes_far_too_much_takes_nobody_elses_turn() {
    let [greedy, honest, third, last] = keys();
    let (like, _) = proposal(&greedy);
    let mut node = Node::start(&last);
    for time in 0..40 {
        for round in [0, 4, 8, 12, 1 << 20] {
            let (message, _) = proposed_by(&greedy, &like, round, NOW.unix.0 + time);
            node.hear(&message, NOW);
        }
    }
    // More than a third are in the next round: so is this one.
    node.hear(&prevote(&third, 1, None), NOW);
    node.hear(&prevote(&honest, 1, None), NOW);
    node.votes();
    let (message, block) = proposed_by(&honest, &like, 1, NOW.unix.0);
    node.hear(&message, NOW);
    assert_eq!(node.votes(), [(VoteKind::Prevote, Some(block))]);
}

#[test]
fn a_list_of_transactions_that_is_not_the_headers_is_not_even_looked_for() {
    let [first, .., last] = keys();
    let (message, block) = proposal(&first);
    let Message::Proposal(signed, compact) = &message else {
        panic!("a proposal");
    };
    let mut forged = compact.clone();
    forged.transactions.push(TxId([7; 32]));
    let mut node = Node::start(&last);
    node.hear(&Message::Proposal(*signed, forged), NOW);
    let fetches = |e: &Effect| matches!(e, Effect::FetchBodies { .. });
    assert!(!node.effects.iter().any(fetches));
    node.hear(&message, NOW);
    assert_eq!(node.votes(), [(VoteKind::Prevote, Some(block))]);
}

/// Lets three replicas, the first proposer among them, commit the first block.
fn committed() -> (Arc<Block>, Certificate, PublicKey) {
    let keys = keys();
    let mut nodes: Vec<Node> = keys[..3].iter().map(Node::start).collect();
    for _ in 0..100 {
        let said: Vec<Message> = nodes.iter_mut().flat_map(Node::says).collect();
        for message in &said {
            for node in &mut nodes {
                node.hear(message, NOW);
            }
        }
        if let Some(done) = nodes[1].paper.blocks.first() {
            let block = done.block.clone().from_own_log();
            return (
                Arc::new(block),
                done.certificate.clone(),
                keys[1].public_key(),
            );
        }
    }
    panic!("three of four commit nothing");
}

#[test]
fn a_replica_that_has_gone_astray_signs_no_more() {
    let [.., last] = keys();
    let spoilt = State::genesis(&genesis(6)).unwrap();
    let mut node = Node::start_with(&last, spoilt, vec![]);
    let (block, certificate, peer) = committed();
    let blocks = vec![(block, certificate)];
    let timers = |node: &Node| -> Vec<Timer> {
        let timer = |e: &Effect| match e {
            Effect::SetTimer(timer, _) => Some(*timer),
            _ => None,
        };
        node.effects.iter().filter_map(timer).collect()
    };
    let before = timers(&node);
    assert!(!before.is_empty() && node.replica.votes());
    node.take(Input::Blocks { peer, blocks }, NOW);
    let alarmed = |e: &Effect| matches!(e, Effect::Alarm(Alarm::Diverged { .. }));
    assert!(node.effects.iter().any(alarmed), "{:?}", node.effects);
    let astray = |e: &Effect| matches!(e, Effect::Astray(own) if own.height() == Height(1));
    assert!(node.effects.iter().any(astray), "{:?}", node.effects);
    assert!(!node.replica.votes());
    let [first, second, third, _] = keys();
    let (message, block) = proposal(&first);
    node.hear(&message, NOW);
    for key in [first, second, third] {
        node.hear(&prevote(&key, 0, Some(block)), NOW);
    }
    for timer in before {
        node.take(Input::Timer(timer), NOW);
    }
    assert_eq!(node.says(), []);
}
