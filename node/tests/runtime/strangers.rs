//! What strangers can make a node say to others, and what it answers them: one of two validators alone, so that its chain
//! stands still below height 1, and peers that are networks without a node.

use super::{
    net::{Net, folders, wait_for},
    stranger::Stranger,
};
use ledger::{
    block::{Header, transaction_ids_hash},
    certificate::{BlockProposal, SignedContent, Vote, VoteKind},
    genesis::PROTOCOL_VERSION,
    hash::{
        BlockHash, CertificateHash, ChainId, StateRoot, TransactionsRoot, TxId, ValidatorSetHash,
    },
    keys::SecretKey,
    units::{Height, Round, TimestampMs},
};
use node::replica::message::{CompactBlock, Message, SignedProposal, SignedVote};
use p2p::{Event, Peer, Request, Response};
use tempfile::TempDir;
use tokio::runtime::Runtime;

struct Scene {
    _folder: TempDir,
    net: Net,
    chain: ChainId,
    address: String,
    /// Of the node, and of the validator that is away.
    keys: [SecretKey; 2],
}

/// A node that has no state yet: it listens for snapshots for two seconds.
fn starting() -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let (dirs, _) = folders(folder.path(), 2);
    let mut config = dirs[0].config().unwrap();
    config.p2p.peers.clear();
    dirs[0].write_config(&config).unwrap();
    let net = Net::start(&dirs[..1], |_, _| {});
    Scene {
        net,
        chain: dirs[0].genesis().unwrap().chain_id(),
        address: dirs[0].run_info().unwrap().p2p,
        keys: [dirs[0].key().unwrap(), dirs[1].key().unwrap()],
        _folder: folder,
    }
}

/// A node whose replica runs.
fn scene() -> Scene {
    let scene = starting();
    wait_for("the replica", || {
        (scene.net.status(0)?["voting"] == true).then_some(())
    });
    scene
}

fn vote(chain: &ChainId, key: &SecretKey, height: u64, round: u32) -> SignedVote {
    let vote = Vote {
        kind: VoteKind::Prevote,
        height: Height(height),
        round: Round(round),
        block: None,
        validator: key.address(),
    };
    SignedVote {
        vote,
        signature: vote.sign(chain, key),
    }
}

fn forged(mut vote: SignedVote) -> SignedVote {
    vote.signature.0[40] ^= 1;
    vote
}

/// Of all that one stranger says, another hears what a validator signed for a height that is due; and whoever goes on to
/// say what is false is shut out.
#[test]
fn only_true_votes_are_forwarded() {
    let scene = scene();
    let (chain, [own, away]) = (&scene.chain, &scene.keys);
    Runtime::new().unwrap().block_on(async {
        let mut liar = Stranger::connect(1, *chain, &scene.address).await;
        let mut other = Stranger::connect(2, *chain, &scene.address).await;
        let unknown = SecretKey::from_seed([9; 32]);
        let good = [vote(chain, away, 1, 3), vote(chain, away, 2, 0)];
        liar.say(vote(chain, away, 3, 0));
        liar.say(vote(chain, &unknown, 1, 0));
        liar.say(forged(vote(chain, away, 1, 0)));
        liar.say(good[0]);
        liar.say(forged(vote(chain, away, 2, 0)));
        liar.say(good[1]);
        let heard = [other.hear(own).await, other.hear(own).await];
        assert_eq!(heard, good);
        liar.say(forged(vote(chain, away, 1, 1)));
        liar.until(|event| matches!(event, Event::Disconnected { .. }))
            .await;
        let node = Peer::from_public_key(&own.public_key()).unwrap();
        let answer = other.network.request(node, Request::Status).await;
        assert!(matches!(answer, Ok(Response::Status(_))), "{answer:?}");
    });
    scene.net.stop();
}

/// Of validators that start together one has its state first, and says what it has to say once.
#[test]
fn what_is_said_before_there_is_a_state_waits_for_it() {
    let scene = starting();
    let (chain, [own, away]) = (&scene.chain, &scene.keys);
    Runtime::new().unwrap().block_on(async {
        let early = Stranger::connect(1, *chain, &scene.address).await;
        let mut other = Stranger::connect(2, *chain, &scene.address).await;
        let said = vote(chain, away, 1, 3);
        early.say(said);
        assert_eq!(other.hear(own).await, said);
    });
    scene.net.stop();
}

/// Below what a ledger has is another answer than above it.
#[test]
fn what_is_not_here_any_more_is_told() {
    let scene = scene();
    Runtime::new().unwrap().block_on(async {
        let stranger = Stranger::connect(1, scene.chain, &scene.address).await;
        let node = Peer::from_public_key(&scene.keys[0].public_key()).unwrap();
        let ask = |height| {
            let from = Height(height);
            stranger
                .network
                .request(node, Request::Blocks { from, max: 1 })
        };
        let earliest = Height(1);
        assert_eq!(ask(0).await, Ok(Response::NotHere { earliest }));
        assert_eq!(ask(1).await, Ok(Response::Blocks(vec![])));
    });
    scene.net.stop();
}

/// Some peer does not answer: it is asked once, and another again and again meanwhile.
#[test]
fn a_silent_peer_is_asked_one_thing_at_a_time() {
    let scene = scene();
    Runtime::new().unwrap().block_on(async {
        let mut silent = Stranger::connect(1, scene.chain, &scene.address).await;
        let mut other = Stranger::connect(2, scene.chain, &scene.address).await;
        let is_asked = |event: &Event| matches!(event, Event::Request { .. });
        let kept = silent.until(is_asked).await;
        for _ in 0..4 {
            drop(other.until(is_asked).await);
        }
        while let Ok(event) = silent.events.try_recv() {
            assert!(!is_asked(&event), "{event:?} while {kept:?} waits");
        }
    });
    scene.net.stop();
}

/// A proposal of more transactions than one question names: all are asked for, in order, each once.
#[test]
fn all_bodies_of_a_block_are_asked_for() {
    let scene = scene();
    let (chain, [own, away]) = (scene.chain, &scene.keys);
    let mut sorted: Vec<TxId> = (0..5000u32)
        .map(|i| TxId(ledger::hash::hash(ledger::hash::Domain::Vote, &i.to_be_bytes()).0))
        .collect();
    let header = Header {
        protocol_version: PROTOCOL_VERSION,
        chain,
        height: Height(1),
        round: Round(0),
        parent: BlockHash::default(),
        parent_certificate: CertificateHash::default(),
        time: TimestampMs(1),
        proposer: away.address(),
        transaction_ids: transaction_ids_hash(sorted.iter().copied()),
        transactions_root: TransactionsRoot::default(),
        state_root: StateRoot::default(),
        validators: ValidatorSetHash::default(),
        next_validators: ValidatorSetHash::default(),
    };
    let compact = CompactBlock {
        header,
        transactions: sorted.clone(),
        parent_certificate: None,
    };
    sorted.sort();
    // Of two validators each proposes in every second round.
    let first = own.address() < away.address();
    let proposal = BlockProposal {
        height: Height(1),
        round: Round(if first { 0 } else { 1 }),
        block: compact.header.hash(),
        proof_of_lock: None,
        proposer: away.address(),
    };
    let signature = proposal.sign(&chain, away);
    let signed = SignedProposal {
        proposal,
        signature,
    };
    Runtime::new().unwrap().block_on(async {
        let mut peer = Stranger::connect(1, chain, &scene.address).await;
        peer.say_message(&Message::Proposal(signed, Box::new(compact)));
        let mut asked = Vec::new();
        for _ in 0..2 {
            let (request, reply) = peer.asked().await;
            match request {
                Request::Bodies { ids } => asked.push(ids),
                other => panic!("{other:?}"),
            }
            reply.send(Response::Bodies(vec![]));
        }
        let lengths: Vec<usize> = asked.iter().map(Vec::len).collect();
        assert_eq!(lengths, [4096, 904]);
        assert_eq!(asked.concat(), sorted);
    });
    scene.net.stop();
}
