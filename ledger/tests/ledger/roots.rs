//! The transactions root is RFC 6962's tree with the count on top, against a plain reference; and one list has one root.

use ledger::{
    block::transactions_root,
    hash::{Domain, Hash, TransactionsRoot, TxId, hash},
    state::{Code, Outcome},
};
use proptest::{collection::vec, prelude::*, sample::Index};

type Leaf = (TxId, Outcome);

fn root(leaves: &[Leaf]) -> TransactionsRoot {
    transactions_root(leaves.iter().map(|(id, outcome)| (*id, outcome)))
}

/// Level by level, with a stack of full subtrees: nothing in common with the recursion of the code.
fn reference(leaves: &[Leaf]) -> TransactionsRoot {
    let join =
        |left: Hash, right: Hash| hash(Domain::TransactionInner, &[left.0, right.0].concat());
    let mut full: Vec<(u32, Hash)> = Vec::new();
    for (id, outcome) in leaves {
        let code = (outcome.code as u16).to_be_bytes();
        let mut node = (
            0,
            hash(Domain::TransactionLeaf, &[&id.0[..], &code].concat()),
        );
        while let Some((level, left)) = full.pop_if(|(level, _)| *level == node.0) {
            node = (level + 1, join(left, node.1));
        }
        full.push(node);
    }
    let tree = full.into_iter().rev().map(|(_, node)| node);
    let tree = tree
        .reduce(|right, left| join(left, right))
        .unwrap_or_default();
    let count = (leaves.len() as u64).to_be_bytes();
    hash(Domain::TransactionInner, &[&count[..], &tree.0].concat()).into()
}

fn leaf() -> impl Strategy<Value = Leaf> {
    let id = prop_oneof![(0u8..3).prop_map(|n| [n; 32]), any::<[u8; 32]>()];
    (id, 0u16..13, any::<u64>()).prop_map(|(id, code, found)| {
        let code = Code::from_number(code).unwrap_or(Code::Applied);
        (TxId(id), Outcome { code, found })
    })
}

proptest! {
    #[test]
    fn the_root_is_the_references(leaves in vec(leaf(), 0..70)) {
        prop_assert_eq!(root(&leaves), reference(&leaves));
    }

    /// The figures beside the codes are derived, and are no part of it.
    #[test]
    fn only_ids_and_codes_count(leaves in vec(leaf(), 1..20), at: Index, figure: u64) {
        let mut other = leaves.clone();
        other[at.index(leaves.len())].1.found = figure;
        prop_assert_eq!(root(&leaves), root(&other));
    }

    /// Dropped, doubled (CVE-2012-2459), swapped, exchanged: another root.
    #[test]
    fn another_list_has_another_root(leaves in vec(leaf(), 1..20), at: Index, to: Index, new in leaf()) {
        let (at, to) = (at.index(leaves.len()), to.index(leaves.len()));
        let differ = |bent: &dyn Fn(&mut Vec<Leaf>)| {
            let mut other = leaves.clone();
            bent(&mut other);
            let covered = |list: &[Leaf]| list.iter().map(|(id, o)| (*id, o.code)).collect::<Vec<_>>();
            covered(&leaves) == covered(&other) || root(&leaves) != root(&other)
        };
        prop_assert!(differ(&|list| { list.remove(at); }), "one dropped");
        prop_assert!(differ(&|list| list.push(list[at])), "one doubled at the end");
        prop_assert!(differ(&|list| list.extend(leaves.clone())), "all doubled");
        prop_assert!(differ(&|list| list.insert(at, new)), "one more");
        prop_assert!(differ(&|list| list.swap(at, to)), "two swapped");
        prop_assert!(differ(&|list| list[at].0 = new.0), "another id");
        prop_assert!(differ(&|list| list[at].1 = new.1), "another outcome");
    }
}
