//! Proofs prove what is there, and nothing else does.

use super::*;
use crate::state::tree::{Proof, ProofError};

fn encode(proof: &Proof) -> Vec<u8> {
    bincode::serde::encode_to_vec(proof, codec()).unwrap()
}

fn decode(bytes: &[u8]) -> Option<Proof> {
    let (proof, used) = bincode::serde::decode_from_slice(bytes, codec()).ok()?;
    (used == bytes.len()).then_some(proof)
}

fn codec() -> impl bincode::config::Config {
    bincode::config::standard()
        .with_big_endian()
        .with_fixed_int_encoding()
        .with_limit::<{ 1 << 20 }>()
}

proptest! {
    #[test]
    fn a_proof_proves_what_is_there(model in model(80), places in prop::collection::vec(place(), 10)) {
        let tree = tree_of(&model);
        for place in places.iter().chain(model.keys()) {
            let proof = decode(&encode(&tree.prove(place))).unwrap();
            let proven = proof.verify(tree.root(), place);
            prop_assert_eq!(proven, Ok(model.get_key_value(place).map(entry_ref)));
        }
    }

    /// A proof holds for no other root.
    #[test]
    fn a_proof_is_bound_to_its_root(model in model(40), edits in edits(5), place in place()) {
        let tree = tree_of(&model);
        let mut other = tree.clone();
        apply(&mut other, &edits);
        prop_assume!(other.root() != tree.root());
        let (expected, found) = (other.root(), tree.root());
        let proven = tree.prove(&place);
        prop_assert_eq!(proven.verify(expected, &place), Err(ProofError::Root { expected, found }));
    }

    /// A proof given for another place proves the truth about that place too, or nothing.
    #[test]
    fn a_proof_never_proves_what_is_not_so(model in model(40), asked in place(), place in place()) {
        let tree = tree_of(&model);
        let proof = tree.prove(&asked);
        if let Ok(proven) = proof.verify(tree.root(), &place) {
            prop_assert_eq!(proven, model.get_key_value(&place).map(entry_ref));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Every byte of an encoded proof, changed in every bit and some other ways: it does not decode, or it does not verify.
    #[test]
    fn no_byte_of_a_proof_can_change(
        model in prop::collection::btree_map(place(), (prop::collection::vec(any::<u8>(), 0..9), prop::collection::vec(any::<u8>(), 0..9)), 0..40),
        asked in place(),
        at in any::<prop::sample::Index>(),
    ) {
        let tree = tree_of(&model);
        let present = (!model.is_empty()).then(|| *model.keys().nth(at.index(model.len())).unwrap());
        for place in present.into_iter().chain([asked]) {
            let bytes = encode(&tree.prove(&place));
            for index in 0..bytes.len() {
                for mask in [1, 2, 4, 8, 16, 32, 64, 128, 255, 3] {
                    let mut changed = bytes.clone();
                    changed[index] ^= mask;
                    if let Some(proof) = decode(&changed) {
                        let proven = proof.verify(tree.root(), &place);
                        prop_assert!(proven.is_err(), "byte {index} xor {mask}: {proven:?} by {proof:?}");
                    }
                }
            }
            for len in 0..bytes.len() {
                prop_assert_eq!(decode(&bytes[..len]), None);
            }
        }
    }
}

/// The ways of contradicting oneself, each made by hand from an honest proof through its JSON form.
#[test]
fn crooked_proofs_are_refused() {
    let model: Model = (0..4u8)
        .map(|n| (Place([n << 6; 32]), (vec![n], vec![n])))
        .collect();
    let tree = tree_of(&model);
    let (root, place) = (tree.root(), Place([0x40; 32]));
    let bend = |bend: &dyn Fn(&mut serde_json::Value)| {
        let mut json = serde_json::to_value(tree.prove(&place)).unwrap();
        bend(&mut json);
        let proof: Proof = serde_json::from_value(json).unwrap();
        proof.verify(root, &place).map(|entry| entry.is_some())
    };
    let step = |step, bit| Err(ProofError::Step { step, bit });
    assert_eq!(bend(&|_| ()), Ok(true));
    assert_eq!(bend(&|p| p["steps"][1]["bit"] = 0.into()), step(1, 0));
    assert_eq!(bend(&|p| p["steps"][0]["bit"] = 1.into()), step(1, 1));
    assert_eq!(bend(&|p| p["steps"][1]["bit"] = 256.into()), step(1, 256));
    assert_eq!(
        bend(&|p| p["steps"][1]["bit"] = 65535.into()),
        step(1, 65535)
    );
    let empty = bend(&|p| p["end"] = "Empty".into());
    assert_eq!(empty, Err(ProofError::Contradiction));
    // The entry's own leaf, shown as that of somebody else.
    let hidden = bend(&|p| {
        let value_hash = hash(Domain::TreeValue, &[1]);
        p["end"] = serde_json::json!({"Other": {
            "place": place, "key": [1], "value_len": 1, "value_hash": value_hash,
        }});
    });
    assert_eq!(hidden, Err(ProofError::Contradiction));
    let counted = bend(&|p| p["steps"][1]["sibling"]["totals"]["bytes"] = u64::MAX.into());
    assert_eq!(counted, Err(ProofError::Overflow));
}

/// The longest way there can be: an entry that parts from another at each bit.
#[test]
fn the_deepest_tree_is_256_levels() {
    let mut model = Model::from([(Place([0; 32]), (vec![], vec![]))]);
    for bit in 0..PLACE_BITS {
        let mut place = [0; 32];
        place[usize::from(bit / 8)] = 0x80 >> (bit % 8);
        model.insert(Place(place), (vec![], vec![1]));
    }
    let tree = tree_of(&model);
    assert_holds(&tree, &model);
    for place in model.keys() {
        let proof = tree.prove(place);
        let proven = proof.verify(tree.root(), place);
        assert_eq!(proven, Ok(model.get_key_value(place).map(entry_ref)));
    }
    let proof = serde_json::to_value(tree.prove(&Place([0; 32]))).unwrap();
    assert_eq!(proof["steps"].as_array().map(Vec::len), Some(256));
}
