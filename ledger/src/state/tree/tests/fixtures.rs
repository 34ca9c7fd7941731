//! Roots and encodings that must never change: they are in every header, certificate and snapshot ever made.

use super::*;
use crate::state::tree::digest;

/// The roots of trees of so many entries of [`hashed_entry`], as a dozen lines of Python make them from the rules.
#[test]
fn roots_are_what_they_always_were() {
    let found: Vec<(u64, String)> = [0, 1, 2, 8, 9, 1000]
        .into_iter()
        .map(|entries| {
            let mut tree = Tree::default();
            let edits: Vec<Edit> = (0..entries).map(|i| hashed_entry(i, i)).collect();
            apply(&mut tree, &edits);
            (entries, tree.root().to_string())
        })
        .collect();
    let expected = [
        (
            0,
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        ),
        (
            1,
            "54b2a0dce334c012912aeb0fbc385cdcb47413c0382474204ddb650bc5ea2032",
        ),
        (
            2,
            "8aa3cf63dd81c7a62086dfd6fe88394bde5da47d71a7aca3e02de4374f8fb5b1",
        ),
        (
            8,
            "1d5de98ba8b5888e22422bd2eecf3f528fab08b9a11828a8a2b7834a33314f10",
        ),
        (
            9,
            "af4d0d4c8ccae3dec4e2a3935eabb5c49d93f3655dd62c21eab028c4e6fa4387",
        ),
        (
            1000,
            "998d23969d9511b1a56324d2f927d904af2f75cec72760e76383f7c90b664077",
        ),
    ];
    assert_eq!(
        found,
        expected.map(|(entries, root)| (entries, root.to_owned()))
    );
}

/// The blocks laid out by hand give what the streaming hasher gives, at every length around the limits of a block.
#[test]
fn blocks_laid_out_by_hand_are_sha_256() {
    let bytes: Vec<u8> = (0..=255).collect();
    let place = [9; 32];
    for len in 0..bytes.len() {
        let bytes = &bytes[..len];
        assert_eq!(
            digest::value(bytes),
            hash(Domain::TreeValue, bytes),
            "{len}"
        );
        for value in [&[][..], bytes] {
            let model = Model::from([(Place(place), (bytes.to_vec(), value.to_vec()))]);
            let expected: Hash = reference(&model).0.into();
            assert_eq!(digest::entry(&place, bytes, value), expected, "{len}");
        }
    }
}

/// How parts and proofs are encoded: they travel between nodes of different versions.
#[test]
fn encodings_are_what_they_always_were() {
    let codec = bincode::config::standard()
        .with_big_endian()
        .with_fixed_int_encoding();
    let model: Model = [0x20, 0x40]
        .map(|n: u8| (Place([n; 32]), (vec![n], vec![n, n])))
        .into();
    let tree = tree_of(&model);
    let part = tree.top().unwrap().part();
    let encoded = bincode::serde::encode_to_vec(part, codec).unwrap();
    let (root, zeros) = (tree.root().to_string(), "0".repeat(62));
    // bits, length, hash, entries, bytes
    let expected = format!(
        "00{zeros}0001{root}000000000000000200000000000000{:02x}",
        2 * (3 + 8)
    );
    assert_eq!(hex::encode(encoded), expected);

    let left = Tree::build([entry_ref(model.iter().next().unwrap())]).unwrap();
    let sibling = format!("{}0000000000000001000000000000000b", left.root());
    let encode = |byte| {
        let proof = tree.prove(&Place([byte; 32]));
        hex::encode(bincode::serde::encode_to_vec(proof, codec).unwrap())
    };
    // count of steps, bit, sibling; end 1: key, value
    let entry = "0000000100000000000000014000000000000000024040";
    let expected = format!("00000000000000010001{sibling}{entry}");
    assert_eq!(encode(0x40), expected);
    // end 2: place, key, value length, value hash
    let (place, value) = (Place([0x40; 32]), hash(Domain::TreeValue, &[0x40, 0x40]));
    let other = format!("00000002{place}00000000000000014000000002{value}");
    let expected = format!("00000000000000010001{sibling}{other}");
    assert_eq!(encode(0x41), expected);
    assert_eq!(
        hex::encode(bincode::serde::encode_to_vec(Tree::default().prove(&place), codec).unwrap()),
        "000000000000000000000000"
    );
}
