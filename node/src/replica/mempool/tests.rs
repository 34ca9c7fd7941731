//! What a pool takes, in which order it gives it, and what it says again.

use super::*;
use ledger::{
    genesis::{Genesis, GenesisAccount, GenesisValidator, PROTOCOL_VERSION, Parameters},
    hash::ChainId,
    keys::SecretKey,
    transaction::{Operation, Transaction},
    units::{Amount, Height, Power, TimestampMs},
    untrusted::Untrusted,
};

const CHAIN: ChainId = ChainId([3; 32]);

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed([n; 32])
}

/// A state in which accounts 1 to 4 are rich.
fn state() -> State {
    let account = |n| GenesisAccount {
        name: format!("account{n}"),
        address: key(n).address(),
        balance: Amount(1_000),
    };
    let validator = GenesisValidator {
        name: "node0".into(),
        public_key: key(9).public_key(),
        power: Power(1),
    };
    State::genesis(&Genesis {
        protocol_version: PROTOCOL_VERSION,
        chain_name: "pool".into(),
        time: TimestampMs(1),
        parameters: Parameters::default(),
        validators: vec![validator],
        accounts: (1..=4).map(account).collect(),
        generated: None,
    })
    .unwrap()
}

fn transfer(from: u8, nonce: u64, last_valid: u64) -> VerifiedTransaction {
    let signed = Transaction {
        chain: CHAIN,
        sender: key(from).public_key(),
        nonce: Nonce(nonce),
        last_valid: Height(last_valid),
        operations: vec![Operation::Transfer {
            to: key(4).address(),
            amount: Amount(1),
        }],
    }
    .sign(&key(from));
    Untrusted::new(signed).verify(&CHAIN).unwrap()
}

fn add(pool: &mut Mempool, from: u8, nonce: u64, source: Source) -> Result<bool, Refusal> {
    pool.add(transfer(from, nonce, 100), source, &state())
}

fn filled(pool: &Mempool, state: &State) -> Vec<(Address, u64)> {
    let taken = pool.fill(&mut Execution::new(state), 100);
    taken.iter().map(|t| (t.sender(), t.nonce.0)).collect()
}

#[test]
fn a_block_takes_each_account_in_order_though_gossip_came_out_of_order() {
    let mut pool = Mempool::new(Limits::default());
    for (from, nonce) in [(1, 2), (2, 0), (1, 0), (1, 1)] {
        assert_eq!(add(&mut pool, from, nonce, Source::Gossip), Ok(true));
    }
    let [a, b] = [key(1).address(), key(2).address()];
    assert_eq!(filled(&pool, &state()), [(a, 0), (a, 1), (a, 2), (b, 0)]);
    assert_eq!(pool.next_nonce(&a, Nonce(0)), Nonce(3));
}

#[test]
fn a_gap_holds_back_what_follows_it_and_nobody_else() {
    let mut pool = Mempool::new(Limits::default());
    add(&mut pool, 1, 1, Source::Gossip).unwrap();
    add(&mut pool, 2, 0, Source::Gossip).unwrap();
    assert_eq!(filled(&pool, &state()), [(key(2).address(), 0)]);
}

#[test]
fn refusals_say_what_would_be_taken() {
    let mut pool = Mempool::new(Limits {
        per_sender_max: 2,
        ..Limits::default()
    });
    let refused = |refusal: Result<bool, Refusal>| refusal.unwrap_err().to_string();
    let future = refused(add(&mut pool, 1, 5, Source::Client));
    assert!(future.contains('5') && future.contains('0'), "{future}");
    add(&mut pool, 1, 0, Source::Client).unwrap();
    assert_eq!(
        add(&mut pool, 1, 0, Source::Client),
        Ok(false),
        "known already"
    );
    let other = pool.add(transfer(1, 0, 99), Source::Client, &state());
    assert!(
        matches!(other, Err(Refusal::NonceTaken { next: Nonce(1), .. })),
        "{other:?}"
    );
    add(&mut pool, 1, 1, Source::Client).unwrap();
    let full = add(&mut pool, 1, 2, Source::Client);
    assert_eq!(full, Err(Refusal::SenderFull { waiting: 2 }));
    let expired = pool.add(transfer(2, 0, 0), Source::Client, &state());
    assert!(
        matches!(
            expired,
            Err(Refusal::Inadmissible(Inadmissible::Expired { .. }))
        ),
        "{expired:?}"
    );
}

#[test]
fn the_pool_is_bounded_in_all() {
    let mut pool = Mempool::new(Limits {
        transactions_max: 2,
        ..Limits::default()
    });
    add(&mut pool, 1, 0, Source::Gossip).unwrap();
    add(&mut pool, 2, 0, Source::Gossip).unwrap();
    let full = add(&mut pool, 3, 0, Source::Gossip);
    assert_eq!(full, Err(Refusal::PoolFull { waiting: 2 }));
}

#[test]
fn only_old_transactions_of_own_clients_are_said_again() {
    let mut pool = Mempool::new(Limits::default());
    add(&mut pool, 1, 0, Source::Client).unwrap();
    add(&mut pool, 2, 0, Source::Gossip).unwrap();
    let mark = pool.mark();
    add(&mut pool, 3, 0, Source::Client).unwrap();
    let said: Vec<Address> = pool
        .own_before(mark, 10)
        .iter()
        .map(|t| t.sender())
        .collect();
    assert_eq!(said, [key(1).address()]);
    assert_eq!(
        pool.own_before(pool.mark(), 1).len(),
        1,
        "so many at the most"
    );
}

#[test]
fn what_is_committed_or_can_be_in_no_block_any_more_goes() {
    let mut pool = Mempool::new(Limits::default());
    let head = state();
    pool.add(transfer(1, 0, 100), Source::Client, &head)
        .unwrap();
    pool.add(transfer(2, 0, 1), Source::Client, &head).unwrap();
    let block = [transfer(1, 0, 100)];
    let mut execution = Execution::new(&head);
    execution.apply(&block[0]).unwrap();
    let after = execution.finish().state;
    let dropped = pool.settle(&block, &after);
    assert_eq!(dropped.len(), 1, "{dropped:?}");
    assert_eq!(dropped[0].0, transfer(2, 0, 1).id());
    assert_eq!(pool.count(), 0);
}

#[test]
fn what_can_be_in_no_block_yet_neither_makes_work_nor_fills_the_pool() {
    let limits = Limits {
        transactions_max: 8,
        ..Limits::default()
    };
    let mut pool = Mempool::new(limits);
    for nonce in 1..100 {
        add(&mut pool, 1, nonce, Source::Gossip).unwrap();
    }
    assert!(pool.has_no_work());
    assert_eq!(pool.count(), 2, "a quarter of the pool, the newest");
    for nonce in 0..8 {
        add(&mut pool, 2, nonce, Source::Gossip).unwrap();
    }
    assert!(!pool.has_no_work());
    let full = add(&mut pool, 3, 0, Source::Gossip);
    assert_eq!(full, Err(Refusal::PoolFull { waiting: 8 }));
}

#[test]
fn those_ahead_make_room_when_bytes_are_short() {
    let bytes = transfer(1, 0, 100).encoded_bytes();
    let mut pool = Mempool::new(Limits {
        bytes_max: 2 * bytes,
        ..Limits::default()
    });
    add(&mut pool, 1, 1, Source::Gossip).unwrap();
    add(&mut pool, 1, 2, Source::Gossip).unwrap();
    add(&mut pool, 2, 0, Source::Gossip).unwrap();
    add(&mut pool, 3, 0, Source::Gossip).unwrap();
    let full = add(&mut pool, 4, 0, Source::Gossip);
    assert_eq!(full, Err(Refusal::PoolFull { waiting: 2 }));
}

#[test]
fn a_gap_that_closes_or_opens_moves_all_that_stand_behind_it() {
    let mut pool = Mempool::new(Limits::default());
    let sender = key(1).address();
    for nonce in [3, 1, 2] {
        add(&mut pool, 1, nonce, Source::Gossip).unwrap();
    }
    assert!(pool.has_no_work());
    // The one in front expires first, and a gap opens.
    pool.add(transfer(1, 0, 1), Source::Gossip, &state())
        .unwrap();
    assert_eq!(pool.next_nonce(&sender, Nonce(0)), Nonce(4));
    let mut state = state();
    for committed in [vec![], vec![transfer(1, 0, 100)]] {
        let mut execution = Execution::new(&state);
        for transaction in &committed {
            execution.apply(transaction).unwrap();
        }
        state = execution.finish().state;
        pool.settle(&committed, &state);
        // Another node's transaction took the place: its followers' turn has come.
        assert_eq!(pool.has_no_work(), committed.is_empty());
    }
    let all = [1, 2, 3].map(|nonce| (sender, nonce));
    assert_eq!(filled(&pool, &state), all);
    let few = pool.fill(&mut Execution::new(&state), 2);
    assert_eq!(few.len(), 2, "so many at the most");
}
