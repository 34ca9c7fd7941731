//! The laws of the state machine, under any sequence of transactions, most of which fail for one reason or another:
//! money is neither made nor lost; what fails changes nothing but a nonce; what may not stand in a block changes
//! nothing at all; a version is used once; the counts that accounts keep are true; and a block has one result,
//! however it is come by.

use crate::{
    arbitrary,
    samples::{CHAIN, genesis, key},
};
use ledger::{
    block::{Block, Header},
    codec,
    genesis::{Genesis, GenesisAccount, Parameters},
    hash::{Address, StateRoot, TransactionIdsHash, TransactionsRoot, ValidatorSetHash},
    state::{
        Code, Execution, Inadmissible, InvalidBlock, State,
        entries::{Account, Key, Record, Space},
        tree::Tree,
    },
    transaction::{Operation, Proposal, Transaction, VerifiedTransaction},
    units::{Amount, Height, Nonce, Power, Version},
    untrusted::Untrusted,
};
use proptest::{collection::vec, option, prelude::*, strategy::ValueTree, test_runner::TestRunner};
use std::collections::{BTreeMap, BTreeSet};

/// Who acts: four validators, two with money besides, and one whom nobody knows at first.
const ACTORS: u8 = 7;
const SPACES: [&str; 2] = ["notes", "lamps"];

/// A chain on which limits are near: few entries, few operations.
fn small_genesis() -> Genesis {
    let account = |n: u8, balance| GenesisAccount {
        name: format!("account{n}"),
        address: key(n).address(),
        balance: Amount(balance),
    };
    Genesis {
        parameters: Parameters {
            entries_per_account_max: 2,
            operations_max: 4,
            ..Parameters::default()
        },
        accounts: vec![account(5, 100), account(6, u64::MAX - 200), account(1, 50)],
        ..genesis()
    }
}

#[derive(Clone, Debug)]
struct Step {
    actor: u8,
    /// How far the nonce is from the right one.
    nonce_off: i8,
    expired: bool,
    operations: Vec<Operation>,
    /// Whether the block ends here.
    last: bool,
}

fn actor() -> impl Strategy<Value = Address> {
    (1..=ACTORS).prop_map(|n| key(n).address())
}

fn proposal() -> impl Strategy<Value = Proposal> {
    let validator = (1u8..=ACTORS, 0u64..4).prop_map(|(n, power)| Proposal::Validator {
        public_key: key(n).public_key(),
        power: Power(power),
    });
    let parameters = prop_oneof![
        Just(Parameters {
            operations_max: 3,
            ..small_genesis().parameters
        }),
        Just(Parameters {
            entries_per_account_max: 2,
            ..small_genesis().parameters
        }),
        Just(Parameters {
            key_bytes_max: 0,
            ..Parameters::default()
        }),
    ];
    // Few proposals, or none would ever get enough approvals.
    prop_oneof![
        4 => Just(Proposal::Validator { public_key: key(5).public_key(), power: Power(2) }),
        2 => Just(Proposal::Validator { public_key: key(1).public_key(), power: Power(0) }),
        2 => parameters.prop_map(Proposal::Parameters),
        1 => validator,
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    let space = || prop::sample::select(&SPACES[..]).prop_map(str::to_owned);
    let record = || prop::sample::select(&[b"a", b"b", b"c"][..]).prop_map(|k| k.to_vec());
    let expected = || option::weighted(0.3, (0u64..6).prop_map(Version));
    let amount = prop_oneof![0u64..120, Just(u64::MAX), any::<u64>()].prop_map(Amount);
    prop_oneof![
        3 => (actor(), amount).prop_map(|(to, amount)| Operation::Transfer { to, amount }),
        2 => (space(), vec(actor(), 0..3))
            .prop_map(|(space, writers)| Operation::CreateSpace { space, writers }),
        1 => (space(), vec(actor(), 0..3))
            .prop_map(|(space, writers)| Operation::SetWriters { space, writers }),
        5 => (space(), record(), arbitrary::bytes(5), expected()).prop_map(
            |(space, key, value, expected)| Operation::Put { space, key, value, expected }),
        3 => (space(), record(), expected())
            .prop_map(|(space, key, expected)| Operation::Delete { space, key, expected }),
        4 => proposal().prop_map(|proposal| Operation::Approve { proposal }),
    ]
}

/// Mostly one or two, so that not everything fails for its company.
fn operations() -> impl Strategy<Value = Vec<Operation>> {
    prop_oneof![8 => vec(operation(), 1..3), 1 => vec(operation(), 0..6)]
}

/// A history: somebody makes a space, sometimes the validators agree on a change, and then anything happens.
fn steps(len_max: usize) -> impl Strategy<Value = Vec<Step>> {
    let step_of = |actor, operation| Step {
        actor,
        nonce_off: 0,
        expired: false,
        operations: vec![operation],
        last: true,
    };
    let space = Operation::CreateSpace {
        space: SPACES[0].to_owned(),
        writers: vec![key(1).address(), key(6).address()],
    };
    let change = option::weighted(0.3, proposal());
    (change, vec(step(), 1..len_max)).prop_map(move |(change, steps)| {
        let approve = |proposal| (1..=4).map(move |n| step_of(n, approval(&proposal)));
        let first = std::iter::once(step_of(5, space.clone()));
        let first = first.chain(change.into_iter().flat_map(approve));
        first.chain(steps).collect()
    })
}

fn approval(proposal: &Proposal) -> Operation {
    Operation::Approve {
        proposal: proposal.clone(),
    }
}

fn step() -> impl Strategy<Value = Step> {
    let off = prop_oneof![12 => Just(0i8), 1 => -1i8..3];
    let expired = prop::bool::weighted(0.05);
    (
        1..=ACTORS,
        off,
        expired,
        operations(),
        prop::bool::weighted(0.3),
    )
        .prop_map(|(actor, nonce_off, expired, operations, last)| Step {
            actor,
            nonce_off,
            expired,
            operations,
            last,
        })
}

/// The transaction of a step, given the nonce that would be right.
fn signed(step: &Step, nonce: Nonce, height: Height) -> VerifiedTransaction {
    let key = key(step.actor);
    let last_valid = if step.expired {
        Height(height.0 - 1)
    } else {
        height
    };
    let transaction = Transaction {
        chain: CHAIN,
        sender: key.public_key(),
        nonce: Nonce(nonce.0.saturating_add_signed(step.nonce_off.into())),
        last_valid,
        operations: step.operations.clone(),
    };
    let claim = Untrusted::new(transaction.sign(&key));
    claim.verify(&CHAIN).expect("well signed")
}

fn entries(tree: &Tree) -> BTreeMap<Key, Vec<u8>> {
    let read = |bytes: &[u8]| codec::decode(bytes, 1 << 16).expect("a key of the state");
    tree.iter()
        .map(|e| (read(e.key), e.value.to_vec()))
        .collect()
}

fn entry<T: for<'de> serde::Deserialize<'de> + serde::Serialize>(value: &[u8]) -> T {
    codec::decode(value, 1 << 20).expect("an entry of the state")
}

fn supply(state: &State) -> u128 {
    let accounts = entries(state.tree()).into_iter();
    let accounts = accounts.filter(|(key, _)| matches!(key, Key::Account(_)));
    accounts
        .map(|(_, value)| u128::from(entry::<Account>(&value).balance.0))
        .sum()
}

/// What must hold of any state, whatever led to it.
fn is_sound(state: &State) -> Result<(), TestCaseError> {
    let mut owned: BTreeMap<Address, u64> = BTreeMap::new();
    let all = entries(state.tree());
    for key in all.keys() {
        let space = match key {
            Key::Space(space) | Key::Record { space, .. } => state.space(space),
            _ => continue,
        };
        let space = space.ok_or_else(|| TestCaseError::fail(format!("{key:?} has no space")))?;
        *owned.entry(space.owner).or_default() += 1;
    }
    for (key, value) in &all {
        prop_assert_eq!(
            key.place(),
            state.tree().get(&key.place()).expect("listed").place
        );
        match key {
            Key::Account(address) => {
                let counted = owned.get(address).copied().unwrap_or_default();
                prop_assert_eq!(entry::<Account>(value).entries, counted, "{}", address);
            }
            Key::Space(name) => {
                let space: Space = entry(value);
                prop_assert!(
                    space.writers.is_sorted_by(|a, b| a < b),
                    "writers of {}",
                    name
                );
            }
            Key::Record { space, .. } => {
                let record: Record = entry(value);
                let changes = state.space(space).expect("seen above").changes;
                prop_assert!((1..=changes).contains(&record.version.0), "{:?}", record);
                prop_assert!(record.written_at <= state.height());
            }
            Key::Parameters => prop_assert_eq!(&entry::<Parameters>(value), state.parameters()),
            Key::Validators | Key::Approvals(_) => {}
        }
    }
    prop_assert!(
        state.parameters().check().is_ok(),
        "{:?}",
        state.parameters()
    );
    let again = State::from_tree(
        state.height(),
        Tree::build(state.tree().iter()).expect("in order"),
    );
    let again = again.map_err(|e| TestCaseError::fail(e.to_string()))?;
    prop_assert_eq!(again.root(), state.root());
    prop_assert_eq!(again.parameters(), state.parameters());
    prop_assert_eq!(again.validators(), state.validators());
    Ok(())
}

/// Held against every state of a history: what has had a version keeps it, and nothing else ever gets it.
#[derive(Default)]
struct Versions(BTreeMap<(String, u64), (Vec<u8>, Vec<u8>)>);

impl Versions {
    fn see(&mut self, state: &State) -> Result<(), TestCaseError> {
        let mut here = BTreeSet::new();
        for (key, value) in entries(state.tree()) {
            let Key::Record { space, key } = key else {
                continue;
            };
            let version = (space, entry::<Record>(&value).version.0);
            prop_assert!(
                here.insert(version.clone()),
                "{:?} twice in one state",
                version
            );
            let record = (key, value);
            let first = self
                .0
                .entry(version.clone())
                .or_insert_with(|| record.clone());
            prop_assert_eq!(&*first, &record, "version {:?} was used before", version);
        }
        Ok(())
    }
}

#[allow(clippy::needless_pass_by_value, reason = "a function for `map_err`")]
fn unjust(why: impl ToString) -> TestCaseError {
    TestCaseError::fail(why.to_string())
}

/// The block of some transactions, with the header that execution finds.
fn block_of(parent: &State, transactions: Vec<VerifiedTransaction>) -> Block {
    let mut header = Header {
        height: parent.height().next(),
        ..crate::samples::header()
    };
    let mut execution = Execution::new(parent);
    for transaction in &transactions {
        execution.apply(transaction).expect("admissible before");
    }
    let executed = execution.finish();
    let sets = executed.state.validators();
    header.transaction_ids = executed.transaction_ids();
    header.transactions_root = executed.transactions_root();
    header.state_root = executed.state.root();
    header.validators = sets.current.hash();
    header.next_validators = sets.next.hash();
    Block {
        header,
        transactions,
        parent_certificate: None,
    }
}

/// What is shown below is worth something only if the sequences get everywhere: every outcome, every reason to keep a
/// transaction out, and changes that are adopted.
#[test]
fn sequences_reach_every_outcome() {
    let mut runner = TestRunner::deterministic();
    let (mut outcomes, mut refusals) = (BTreeMap::new(), BTreeMap::new());
    let mut adopted = 0;
    for _ in 0..300 {
        let steps = steps(40).new_tree(&mut runner).unwrap().current();
        let first = State::genesis(&small_genesis()).unwrap();
        let mut state = first.clone();
        for step in &steps {
            let account = state.account(&key(step.actor).address());
            let nonce = account.map_or(Nonce(0), |account| account.nonce);
            let transaction = signed(step, nonce, state.height().next());
            let mut execution = Execution::new(&state);
            match execution.apply(&transaction) {
                Ok(outcome) => *outcomes.entry(outcome.code as u16).or_insert(0) += 1,
                Err(why) => {
                    let name = format!("{why:?}");
                    let name = name.split([' ', '(']).next().unwrap_or_default().to_owned();
                    *refusals.entry(name).or_insert(0) += 1;
                }
            }
            let next = execution.finish().state;
            state = next;
        }
        let is_changed = state.validators() != first.validators();
        adopted += u32::from(is_changed || state.parameters() != first.parameters());
    }
    // No balance can overflow: a genesis whose balances add up to more than an amount can say is refused.
    let reachable = (0..13).filter(|code| *code != Code::BalanceOverflow as u16);
    let seen: Vec<u16> = outcomes.keys().copied().collect();
    assert_eq!(seen, reachable.collect::<Vec<_>>(), "{outcomes:?}");
    assert_eq!(refusals.len(), 5, "{refusals:?}");
    let said = format!("{outcomes:?}, {refusals:?}, {adopted} adopted");
    assert!(outcomes[&0] > 500 && adopted > 30, "{said}");
    println!("{said}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn the_laws_hold_under_any_sequence(steps in steps(40)) {
        let mut parent = State::genesis(&small_genesis()).map_err(unjust)?;
        let money = supply(&parent);
        let mut versions = Versions::default();
        let mut taken = Vec::new();
        for step in &steps {
            // The state with what the block has so far: each transaction is judged after the one before.
            let before = block_of(&parent, taken.clone());
            let before = Execution::run(&parent, &before).map_err(unjust)?.state;
            let address = key(step.actor).address();
            let account = before.account(&address);
            let nonce = account.map_or(Nonce(0), |a| a.nonce);
            let transaction = signed(step, nonce, before.height());
            let mut execution = Execution::new(&parent);
            for transaction in &taken {
                execution.apply(transaction).map_err(unjust)?;
            }
            let verdict = execution.apply(&transaction);
            let after = execution.finish().state;
            versions.see(&after)?;
            is_sound(&after)?;
            prop_assert_eq!(supply(&after), money);
            match verdict {
                Err(why) => {
                    prop_assert_eq!(after.root(), before.root(), "inadmissible ({}), and changed", why);
                    let count = step.operations.len();
                    let limit = parent.parameters().operations_max as usize;
                    let expected = match why {
                        Inadmissible::Limits(_) => count == 0 || count > limit,
                        Inadmissible::UnknownSender(_) => account.is_none(),
                        Inadmissible::StaleNonce { .. } => step.nonce_off < 0,
                        Inadmissible::FutureNonce { .. } => step.nonce_off > 0,
                        Inadmissible::Expired { .. } => step.expired,
                    };
                    prop_assert!(expected, "{}: {:?}", why, step);
                }
                Ok(outcome) => {
                    taken.push(transaction);
                    let (was, is) = (entries(before.tree()), entries(after.tree()));
                    let account = account.ok_or_else(|| unjust("nobody's transaction was taken"))?;
                    let counted = after.account(&address).ok_or_else(|| unjust("the account went"))?;
                    prop_assert_eq!(counted.nonce, account.nonce.next());
                    if outcome.code != Code::Applied {
                        let mut expected = was;
                        let nonce_only = Account { nonce: account.nonce.next(), ..account };
                        expected.insert(Key::Account(address), codec::encode(&nonce_only));
                        prop_assert!(is == expected, "{:?} changed more than the nonce", outcome);
                    }
                }
            }
            if step.last {
                let block = block_of(&parent, std::mem::take(&mut taken));
                parent = Execution::run(&parent, &block).map_err(unjust)?.state;
            }
        }
    }

    /// Executed once more, from a parent that was built anew from its entries, and with inadmissible transactions tried in
    /// between: one block, one root. And a header that says anything else is refused.
    #[test]
    fn a_block_has_one_result(steps in steps(20), strangers in vec(step(), 5)) {
        let parent = State::genesis(&small_genesis()).map_err(unjust)?;
        let height = parent.height().next();
        let mut taken = Vec::new();
        let mut nonces: BTreeMap<u8, u64> = BTreeMap::new();
        let mut interrupted = Execution::new(&parent);
        for (n, step) in steps.iter().enumerate() {
            let nonce = nonces.entry(step.actor).or_default();
            let transaction = signed(step, Nonce(*nonce), height);
            if interrupted.apply(&transaction).is_ok() {
                *nonce += 1;
                taken.push(transaction);
            }
            let stranger = Step { expired: true, ..strangers[n % strangers.len()].clone() };
            prop_assert!(interrupted.apply(&signed(&stranger, Nonce(0), height)).is_err());
        }
        let block = block_of(&parent, taken);
        let interrupted = interrupted.finish();
        prop_assert_eq!(interrupted.state.root(), block.header.state_root);
        prop_assert_eq!(interrupted.transactions_root(), block.header.transactions_root);
        let tree = Tree::build(parent.tree().iter()).map_err(unjust)?;
        let rebuilt = State::from_tree(parent.height(), tree).map_err(unjust)?;
        let run = Execution::run(&rebuilt, &block).map_err(unjust)?;
        prop_assert_eq!(run.outcomes, interrupted.outcomes);

        let lies: [fn(&mut Header); 6] = [
            |header| header.state_root = StateRoot([1; 32]),
            |header| header.transaction_ids = TransactionIdsHash([1; 32]),
            |header| header.transactions_root = TransactionsRoot([1; 32]),
            |header| header.validators = ValidatorSetHash([1; 32]),
            |header| header.next_validators = ValidatorSetHash([1; 32]),
            |header| header.height = Height(7),
        ];
        for lie in lies {
            let mut block = block.clone();
            lie(&mut block.header);
            let refused = Execution::run(&parent, &block);
            let expected = matches!(
                refused,
                Err(InvalidBlock::Mismatch { .. } | InvalidBlock::Height { .. })
            );
            prop_assert!(expected, "{:?}", block.header);
        }
    }
}
