//! The way down: only the very blocks of the chain are taken, whoever tells what, and it ends at the first.

use super::course::{Course, Having, Lie, Question, Step};
use crate::audit::tests::chain::{Chain, certificate};
use ledger::{
    block::CommittedBlock,
    codec,
    hash::BlockHash,
    state::{Code, Outcome},
    store::BlockRecord,
    units::Height,
};
use std::time::{Duration, Instant};

type Peer = u8;

fn having(peer: Peer, earliest: u64, latest: u64) -> Having<Peer> {
    let (earliest, latest) = (Height(earliest), Height(latest));
    Having {
        peer,
        earliest,
        latest,
    }
}

/// A course down from the block at `height`.
fn course(chain: &Chain, height: u64) -> Course<Peer> {
    Course::below(block(chain, height))
}

fn block(chain: &Chain, height: u64) -> &CommittedBlock {
    &chain.blocks[usize::try_from(height - 1).unwrap()]
}

#[track_caller]
fn question(step: Step<Peer>) -> Question<Peer> {
    match step {
        Step::Ask(question) => question,
        other => panic!("{other:?}"),
    }
}

/// What an honest peer answers: as much as there is room for.
fn answer(chain: &Chain, question: Question<Peer>, room: u64) -> Vec<Vec<u8>> {
    let heights = question.from.0..question.from.0 + question.count.min(room);
    heights.map(|h| codec::encode(block(chain, h))).collect()
}

/// Goes on with honest peers until there is nothing to do, and gives all that was written.
fn run(
    course: &mut Course<Peer>,
    chain: &Chain,
    peers: &[Having<Peer>],
    room: u64,
) -> Vec<BlockRecord> {
    let mut written: Vec<BlockRecord> = Vec::new();
    let now = Instant::now();
    for _ in 0..1_000 {
        match course.next(now, peers) {
            Step::Ask(question) => {
                let blocks = answer(chain, question, room);
                course.take(question, &blocks, now).unwrap();
            }
            Step::Write => {
                let mut segment = course.segment();
                segment.append(&mut written);
                written = segment;
            }
            Step::Wait | Step::Done => return written,
        }
    }
    panic!("it does not end")
}

fn assert_are(chain: &Chain, written: &[BlockRecord], heights: std::ops::Range<u64>) {
    let found: Vec<u64> = written.iter().map(|record| record.height.0).collect();
    assert_eq!(found, heights.collect::<Vec<_>>());
    for record in written {
        let expected = block(chain, record.height.0);
        assert_eq!(
            BlockHash::from(record.block_hash),
            expected.block.header.hash()
        );
        assert_eq!(record.payload, codec::encode(expected), "{}", record.height);
    }
}

#[test]
fn it_goes_down_to_the_first_block() {
    let chain = Chain::new(200);
    let mut whole = course(&chain, 200);
    let written = run(&mut whole, &chain, &[having(1, 1, 200)], 1_000);
    assert_are(&chain, &written, 1..200);
    assert_eq!(whole.next(Instant::now(), &[]), Step::Done);
    // The log begins with the first block already.
    assert_eq!(course(&chain, 1).next(Instant::now(), &[]), Step::Done);
}

/// However few blocks fit into an answer, and although each has only a part.
#[test]
fn short_answers_and_peers_that_have_pruned_are_enough() {
    let chain = Chain::new(150);
    for room in [1, 7, 63] {
        let written = run(&mut course(&chain, 150), &chain, &[having(1, 1, 200)], room);
        assert_are(&chain, &written, 1..150);
    }
    let peers = [having(1, 100, 200), having(2, 30, 120), having(3, 1, 40)];
    let written = run(&mut course(&chain, 150), &chain, &peers, 1_000);
    assert_are(&chain, &written, 1..150);
    // As far as anybody has it; what came is written all the same.
    let mut part = course(&chain, 150);
    let written = run(&mut part, &chain, &peers[..2], 1_000);
    assert_are(&chain, &written, 30..150);
    assert_eq!(part.next(Instant::now(), &peers[..2]), Step::Wait);
    let written = run(&mut part, &chain, &peers, 1_000);
    assert_are(&chain, &written, 1..30);
}

/// Each way of not telling the truth: what is above it stays, nothing of it does, and another peer is asked.
#[test]
fn no_lie_gets_in() {
    type Spoil = fn(&mut CommittedBlock);
    let spoiled: [(&str, Spoil); 5] = [
        ("another header", |b| b.block.header.time.0 += 1),
        ("a transaction too few", |b| {
            drop(b.block.transactions.pop())
        }),
        ("two transactions the other way round", |b| {
            b.block.transactions.swap(0, 1)
        }),
        ("an outcome too few", |b| b.outcomes.truncate(2)),
        ("another outcome", |b| {
            b.outcomes[1] = Outcome::from(Code::NotAWriter)
        }),
    ];
    let chain = Chain::new(20);
    let now = Instant::now();
    for (what, spoil) in spoiled {
        let mut course = course(&chain, 20);
        let asked = question(course.next(now, &[having(1, 1, 20)]));
        let mut blocks = answer(&chain, asked, 1_000);
        let mut bad = block(&chain, 15).clone();
        spoil(&mut bad);
        blocks[14] = codec::encode(&bad);
        let lie = course.take(asked, &blocks, now).unwrap_err();
        assert!(lie.to_string().contains("block 15"), "{what}: {lie}");
        let written = course.segment();
        assert_are(&chain, &written, 16..20);
        assert_eq!(course.next(now, &[having(1, 1, 20)]), Step::Wait, "{what}");
        let written = run(
            &mut course,
            &chain,
            &[having(1, 1, 20), having(2, 1, 20)],
            1_000,
        );
        assert_are(&chain, &written, 1..16);
    }
}

/// Whole blocks in the wrong place, more than were asked for, and bytes that are none.
#[test]
fn what_was_not_asked_for_is_a_lie() {
    let chain = Chain::new(10);
    let now = Instant::now();
    let lie = |change: fn(&Chain, &mut Vec<Vec<u8>>)| {
        let mut course = course(&chain, 10);
        let asked = question(course.next(now, &[having(1, 1, 10)]));
        let mut blocks = answer(&chain, asked, 1_000);
        change(&chain, &mut blocks);
        let lie = course.take(asked, &blocks, now).unwrap_err();
        assert_eq!(course.next(now, &[having(1, 1, 10)]), Step::Wait);
        lie
    };
    assert!(matches!(lie(|_, b| b.swap(8, 3)), Lie::OtherBlock { .. }));
    assert!(matches!(lie(|_, b| b[8].truncate(9)), Lie::NoBlock { .. }));
    assert!(matches!(lie(|_, b| b[8].push(0)), Lie::NoBlock { .. }));
    let more = |chain: &Chain, b: &mut Vec<Vec<u8>>| b.push(codec::encode(block(chain, 10)));
    assert!(matches!(
        lie(more),
        Lie::TooMany {
            found: 10,
            asked: 9
        }
    ));
}

/// The certificate is the one that the chain itself has: a peer's own need not even be good.
#[test]
fn a_certificate_comes_from_the_block_above() {
    let chain = Chain::new(10);
    let now = Instant::now();
    let mut course = course(&chain, 10);
    let asked = question(course.next(now, &[having(1, 1, 10)]));
    let mut blocks = answer(&chain, asked, 1_000);
    let mut other = block(&chain, 9).clone();
    other.certificate = certificate(&chain.genesis.chain_id(), &other.block.header, 1);
    assert_ne!(other.certificate, block(&chain, 9).certificate);
    blocks[8] = codec::encode(&other);
    course.take(asked, &blocks, now).unwrap();
    assert_are(&chain, &course.segment(), 1..10);
}

#[test]
fn peers_take_turns_and_one_that_cannot_help_rests() {
    let chain = Chain::new(10);
    let begun = Instant::now();
    let peers = [having(1, 1, 10), having(2, 1, 10), having(3, 5, 8)];
    let mut course = course(&chain, 10);
    let first = question(course.next(begun, &peers)).peer;
    let second = question(course.next(begun, &peers)).peer;
    assert_eq!(
        [first.min(second), first.max(second)],
        [1, 2],
        "3 does not have block 9"
    );
    course.rest(1, begun);
    for _ in 0..3 {
        assert_eq!(question(course.next(begun, &peers)).peer, 2);
    }
    // An answer without a block is none.
    let asked = question(course.next(begun, &peers));
    course.take(asked, &Vec::<Vec<u8>>::new(), begun).unwrap();
    assert_eq!(course.next(begun, &peers), Step::Wait);
    let later = begun + Duration::from_secs(60);
    assert_eq!(question(course.next(later, &peers)).count, 9);
}

/// Large blocks are written in segments, and never more than that is held.
#[test]
fn memory_is_bounded_by_a_segment() {
    let chain = Chain::new(3);
    let mut course = course(&chain, 3);
    let now = Instant::now();
    let asked = question(course.next(now, &[having(1, 2, 3)]));
    assert_eq!((asked.from, asked.count), (Height(2), 1));
    course.take(asked, &answer(&chain, asked, 9), now).unwrap();
    course.fill_segment();
    assert_eq!(course.next(now, &[having(1, 1, 3)]), Step::Write);
    assert_are(&chain, &course.segment(), 2..3);
    assert_eq!(
        question(course.next(now, &[having(1, 1, 3)])).from,
        Height(1)
    );
}
