//! Range proofs show all that is in a range, page by page, and nothing that was tampered with passes.

use super::*;
use crate::{
    codec,
    state::tree::{PageLimits, PlaceRange, Prefix, RANGE_PROOF_BYTES_MAX, RangeError, RangeProof},
};

const NO_LIMITS: PageLimits = PageLimits {
    entries: u64::MAX,
    bytes: u64::MAX,
};

fn encode(proof: &RangeProof) -> Vec<u8> {
    codec::encode(proof)
}

fn decode(bytes: &[u8]) -> Option<RangeProof> {
    codec::decode(bytes, RANGE_PROOF_BYTES_MAX).ok()
}

fn range() -> impl Strategy<Value = PlaceRange> {
    let ends = (place(), place());
    let between = ends.prop_map(|(a, b)| PlaceRange {
        from: a.min(b),
        to: a.max(b),
    });
    let below = (place(), 0u16..=256).prop_map(|(p, len)| Prefix::of(&p, len).into());
    prop_oneof![between, below, Just(PlaceRange::ALL)]
}

fn within<'a>(model: &'a Model, range: PlaceRange) -> Vec<EntryRef<'a>> {
    let found = model.range(range.from..=range.to);
    found.map(entry_ref).collect()
}

proptest! {
    #[test]
    fn a_range_is_proven_whole(model in model(80), ranges in prop::collection::vec(range(), 6)) {
        let tree = tree_of(&model);
        for range in ranges {
            let proof = decode(&encode(&tree.prove_range(range, NO_LIMITS))).unwrap();
            let proven = proof.verify(tree.root(), range).unwrap();
            prop_assert_eq!(proven.entries, within(&model, range));
            prop_assert_eq!(proven.next, None);
        }
    }

    /// Pages follow each other to the end of the range, and show each entry once.
    #[test]
    fn pages_make_the_whole(model in model(80), range in range(), entries in 0u64..9, bytes in 0u64..600) {
        let tree = tree_of(&model);
        let limits = PageLimits { entries, bytes };
        let (mut shown, mut rest) = (Vec::new(), Some(range));
        while let Some(page) = rest {
            let proof = tree.prove_range(page, limits);
            let proven = proof.verify(tree.root(), page).unwrap();
            let count = proven.entries.len() as u64;
            prop_assert!(count <= entries.max(1));
            prop_assert!(count > 0 || proven.next.is_none(), "no progress");
            shown.extend(proven.entries.iter().map(|e| (e.place, e.key.to_vec(), e.value.to_vec())));
            let last = proven.entries.last().map(|e| e.place);
            rest = proven.next.and_then(|_| range.after(&last?));
        }
        let all = within(&model, range);
        let all: Vec<_> = all.iter().map(|e| (e.place, e.key.to_vec(), e.value.to_vec())).collect();
        prop_assert_eq!(shown, all);
    }

    /// A proof given for another range, or the proof of a page, proves the truth about the range too, or nothing.
    #[test]
    fn a_range_proof_never_proves_what_is_not_so(
        model in model(40),
        asked in range(),
        range in range(),
        entries in 1u64..50,
    ) {
        let tree = tree_of(&model);
        let proof = tree.prove_range(asked, PageLimits { entries, bytes: u64::MAX });
        if let Ok(proven) = proof.verify(tree.root(), range) {
            let mut all = within(&model, range);
            if let Some(next) = proven.next {
                let hidden = all.iter().position(|e| e.place == next);
                prop_assert_eq!(hidden, Some(proven.entries.len()));
                all.truncate(proven.entries.len());
            }
            prop_assert_eq!(proven.entries, all);
        }
    }

    #[test]
    fn a_range_proof_is_bound_to_its_root(model in model(40), edits in edits(5), range in range()) {
        let tree = tree_of(&model);
        let mut other = tree.clone();
        apply(&mut other, &edits);
        prop_assume!(other.root() != tree.root());
        let (expected, found) = (other.root(), tree.root());
        let proof = tree.prove_range(range, NO_LIMITS);
        prop_assert_eq!(proof.verify(expected, range), Err(RangeError::Root { expected, found }));
    }

    /// An entry left out, put in twice, swapped with its neighbour, or changed; an outer leaf or what hangs beside the way
    /// left out: each by hand, in every proof.
    #[test]
    fn nothing_can_be_left_out_or_put_in(model in model(40), range in range(), entries in 1u64..40) {
        let tree = tree_of(&model);
        let proof = tree.prove_range(range, PageLimits { entries, bytes: u64::MAX });
        let honest = serde_json::to_value(&proof).unwrap();
        let refused = |bent: serde_json::Value| {
            if bent == honest {
                return Ok(());
            }
            let Ok(proof) = serde_json::from_value::<RangeProof>(bent) else { return Ok(()) };
            let proven = proof.verify(tree.root(), range);
            prop_assert!(proven.is_err(), "{proven:?} by {proof:?}");
            Ok(())
        };
        for list in ["entries", "left", "right"] {
            let count = honest[list].as_array().unwrap().len();
            for at in 0..count {
                let bend = |bend: &dyn Fn(&mut Vec<serde_json::Value>)| {
                    let mut bent = honest.clone();
                    bend(bent[list].as_array_mut().unwrap());
                    bent
                };
                refused(bend(&|list| { list.remove(at); }))?;
                refused(bend(&|list| list.insert(at, list[at].clone())))?;
                refused(bend(&|list| list.swap(at, (at + 1) % count)))?;
                refused(bend(&|list| list.truncate(at)))?;
                if list == "entries" {
                    refused(bend(&|list| list[at]["value"] = "ff00ff".into()))?;
                    refused(bend(&|list| list[at]["key"] = "ff00ff".into()))?;
                }
            }
        }
        for edge in ["before", "after"] {
            let mut bent = honest.clone();
            bent[edge] = serde_json::Value::Null;
            refused(bent.clone())?;
            // And with all that hangs on that side.
            bent[if edge == "before" { "left" } else { "right" }] = serde_json::json!([]);
            refused(bent)?;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn no_byte_of_a_range_proof_can_change(
        model in prop::collection::btree_map(place(), (prop::collection::vec(any::<u8>(), 0..5), prop::collection::vec(any::<u8>(), 0..5)), 0..24),
        range in range(),
        entries in 1u64..6,
    ) {
        let tree = tree_of(&model);
        let bytes = encode(&tree.prove_range(range, PageLimits { entries, bytes: u64::MAX }));
        for index in 0..bytes.len() {
            for mask in [1, 2, 4, 8, 16, 32, 64, 128, 255, 3] {
                let mut changed = bytes.clone();
                changed[index] ^= mask;
                if let Some(proof) = decode(&changed) {
                    let proven = proof.verify(tree.root(), range);
                    prop_assert!(proven.is_err(), "byte {index} xor {mask}: {proven:?} by {proof:?}");
                }
            }
        }
        for len in 0..bytes.len() {
            prop_assert_eq!(decode(&bytes[..len]), None);
        }
    }
}

/// The ways of contradicting oneself that the root alone would not tell, each from an honest proof.
#[test]
fn crooked_range_proofs_are_refused() {
    let at = |n: u8| Place([n; 32]);
    let model: Model = (1..8u8).map(|n| (at(n << 4), (vec![n], vec![n]))).collect();
    let tree = tree_of(&model);
    let of = |from: u8, to: u8| PlaceRange {
        from: at(from),
        to: at(to),
    };
    let proof = tree.prove_range(of(0x30, 0x40), NO_LIMITS);
    let verify = |range| proof.verify(tree.root(), range).map(|p| p.next);
    assert_eq!(verify(of(0x30, 0x40)), Ok(None));
    // A narrower range than was proven, where something proven lies outside.
    assert_eq!(verify(of(0x30, 0x3f)), Err(RangeError::Outside(at(0x40))));
    assert_eq!(verify(of(0x31, 0x40)), Err(RangeError::Outside(at(0x30))));
    // A wider one: that it begins late is a fault, that it ends early is told.
    let late = Err(RangeError::BeginsLate(at(0x20)));
    assert_eq!(verify(of(0x20, 0x40)), late);
    assert_eq!(verify(of(0x21, 0x40)), Ok(None));
    assert_eq!(verify(of(0x30, 0x4f)), Ok(None));
    assert_eq!(verify(of(0x30, 0x50)), Ok(Some(at(0x50))));
    // Two neighbours that both lie before the range say nothing about it.
    let below = tree.prove_range(of(0x21, 0x2f), NO_LIMITS);
    let moved = below.verify(tree.root(), of(0x41, 0x4f));
    assert_eq!(moved, Err(RangeError::Outside(at(0x30))));

    let bend = |bend: &dyn Fn(&mut serde_json::Value)| {
        let mut json = serde_json::to_value(&proof).unwrap();
        bend(&mut json);
        let proof: RangeProof = serde_json::from_value(json).unwrap();
        proof.verify(tree.root(), of(0x30, 0x40)).map(|p| p.next)
    };
    let none = serde_json::Value::Null;
    let unbounded = bend(&|p| p["before"] = none.clone());
    assert_eq!(unbounded, Err(RangeError::Unbounded));
    let unbounded = bend(&|p| p["after"] = none.clone());
    assert_eq!(unbounded, Err(RangeError::Unbounded));
    let step = bend(&|p| p["left"][0]["bit"] = 256.into());
    assert_eq!(step, Err(RangeError::Step { bit: 256 }));
    let step = bend(&|p| p["right"][0]["bit"] = 3.into());
    assert_eq!(step, Err(RangeError::Step { bit: 3 }));
    let order = bend(&|p| p["entries"].as_array_mut().unwrap().reverse());
    assert_eq!(order, Err(RangeError::Order(at(0x30))));
    let counted = bend(&|p| p["left"][0]["sibling"]["totals"]["bytes"] = u64::MAX.into());
    assert_eq!(counted, Err(RangeError::Overflow));
}

/// In the deepest tree there can be, on both sides: no list is longer than a place has bits.
#[test]
fn the_deepest_range_proof_has_256_steps() {
    let mut model = Model::from([(Place([0; 32]), (vec![], vec![]))]);
    for bit in 0..PLACE_BITS {
        let mut place = [0; 32];
        place[usize::from(bit / 8)] = 0x80 >> (bit % 8);
        model.insert(Place(place), (vec![], vec![1]));
    }
    let tree = tree_of(&model);
    for place in model.keys() {
        let range = PlaceRange {
            from: *place,
            to: *place,
        };
        let proof = tree.prove_range(range, NO_LIMITS);
        let proven = proof.verify(tree.root(), range).unwrap();
        assert_eq!(proven.entries, within(&model, range));
        assert!(encode(&proof).len() < 257 * 60 + 300);
    }
}

#[test]
fn what_comes_after_a_place() {
    let range = PlaceRange {
        from: Place([1; 32]),
        to: Place([3; 32]),
    };
    let mut next = [2; 32];
    next[30..].copy_from_slice(&[3, 0]);
    let mut place = [2; 32];
    place[31] = 0xff;
    let from = |place| range.after(&Place(place)).map(|r| r.from);
    assert_eq!(from(place), Some(Place(next)));
    assert_eq!(from([0; 32]), Some(range.from));
    assert_eq!(from([3; 32]), None);
    assert_eq!(PlaceRange::ALL.after(&Place([0xff; 32])), None);
}

/// The empty tree has nothing in any range, and its proof says so.
#[test]
fn an_empty_tree_is_proven_empty() {
    let tree = Tree::default();
    let proof = tree.prove_range(PlaceRange::ALL, NO_LIMITS);
    let proven = proof.verify(tree.root(), PlaceRange::ALL).unwrap();
    assert_eq!((proven.entries.len(), proven.next), (0, None));
    assert_eq!(encode(&proof).len(), 8 + 1 + 8 + 1 + 8);
    // Of a tree that has something it is no proof.
    let other = tree_of(&Model::from([(Place([1; 32]), (vec![], vec![]))]));
    assert!(proof.verify(other.root(), PlaceRange::ALL).is_err());
}
