//! Letting go of a version of the tree.
//!
//! What no other version has is freed, and most of that lies far apart in memory: freeing one node after another would wait for
//! each. So nodes are asked for some time before they are looked at.

use super::near;
use super::node::{Inner, Node};
use super::{Subtree, Tree};
use std::collections::VecDeque;
use triomphe::{Arc, UniqueArc};

/// From this many entries on, the halves of a subtree are let go in parallel.
const PARALLEL_ENTRIES_MIN: u64 = 1 << 14;
/// Nodes that are asked for ahead.
const ASKED: usize = 16;

impl Drop for Tree {
    fn drop(&mut self) {
        if let Some(top) = self.top.take() {
            let_go(top);
        }
    }
}

fn let_go(subtree: Subtree) {
    let entries = subtree.totals().entries;
    match halves(subtree.node) {
        Some((left, right)) if entries >= PARALLEL_ENTRIES_MIN => {
            rayon::join(|| let_go(left), || let_go(right));
        }
        Some((left, right)) => free(vec![right.node, left.node]),
        None => {}
    }
}

/// Frees the nodes that nobody else has. Held at a time are few: those beside the ways to the ones asked for.
fn free(mut nodes: Vec<Node>) {
    let mut asked = VecDeque::with_capacity(ASKED);
    loop {
        while asked.len() < ASKED
            && let Some(node) = nodes.pop()
        {
            match &node {
                Node::Inner(inner) => near::ask(&**inner),
                Node::Page(page) => page.ask_count(),
            }
            asked.push_back(node);
        }
        let Some(node) = asked.pop_front() else {
            return;
        };
        if let Some((left, right)) = halves(node) {
            nodes.extend([right.node, left.node]);
        }
    }
}

/// The children of an inner node that nobody else had, which is freed.
fn halves(node: Node) -> Option<(Subtree, Subtree)> {
    let Node::Inner(inner) = node else {
        return None;
    };
    let Inner { left, right, .. } = UniqueArc::into_inner(Arc::into_unique(inner)?);
    Some((left, right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tree::{Change, EntryRef, Op, Place};

    fn place(n: u16) -> Place {
        let mut place = [0; 32];
        place[..2].copy_from_slice(&n.wrapping_mul(40_503).to_be_bytes());
        Place(place)
    }

    /// How many nodes a subtree has, and how many of them somebody else has too.
    fn count(subtree: &Subtree) -> (usize, usize) {
        let Node::Inner(inner) = &subtree.node else {
            return (1, 0);
        };
        let own = usize::from(!inner.is_unique());
        let [left, right] = [&inner.left, &inner.right].map(count);
        (1 + left.0 + right.0, own + left.1 + right.1)
    }

    /// Versions let go in whatever order leave the last one whole, and alone with what it has.
    #[test]
    fn what_nobody_has_is_freed_and_nothing_else() {
        let mut places: Vec<Place> = (0..40_000).map(place).collect();
        places.sort_unstable();
        let entries = places.iter().map(|place| EntryRef {
            place: *place,
            key: &place.0,
            value: b"old",
        });
        let mut tree = Tree::build(entries).unwrap();
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let mut versions: Vec<Option<Tree>> = Vec::new();
            for version in 0..3_u16 {
                versions.push(Some(tree.clone()));
                let change = |n: u16| Change {
                    place: place(n * 13 + version),
                    op: Op::Put {
                        key: b"key",
                        value: b"new",
                    },
                };
                let batch: Vec<_> = (0..500).map(change).collect();
                tree.apply(&batch).unwrap();
                tree.apply(&[Change {
                    place: place(version),
                    op: Op::Remove,
                }])
                .unwrap();
            }
            let root = tree.root();
            assert!(count(tree.top().unwrap()).1 > 0, "versions share");
            for version in order {
                versions[version] = None;
            }
            let (nodes, shared) = count(tree.top().unwrap());
            assert!(nodes > 4_000);
            assert_eq!(shared, 0);
            assert_eq!(tree.top().unwrap().audit(), Ok(()));
            assert_eq!(tree.root(), root);
        }
    }
}
