//! What is signed cannot be bent: every byte of a transaction, an envelope, an attestation and a certificate is flipped in
//! turn, and none of them passes. And a certificate counts exactly the power that signed it.

use crate::arbitrary;
use crate::samples::{
    CHAIN, attestation, certificate_by, envelope, header, key, operations, transaction, validators,
};
use ledger::{
    block::CertifiedHeader,
    certificate::{Certificate, CertificateError, CommitSignature, SignedContent},
    codec::{decode, encode},
    envelope::{Attestation, Envelope},
    hash::BlockHash,
    transaction::SignedTransaction,
    units::{Height, Power, Round},
};
use proptest::prelude::*;

/// Flips each byte in three ways and asks whether what it gives is taken.
#[track_caller]
fn assert_no_byte_can_change(what: &str, good: &[u8], takes: impl Fn(&[u8]) -> bool) {
    assert!(takes(good), "{what}: the good one is refused");
    let mut bytes = good.to_vec();
    for at in 0..good.len() {
        for mask in [1, 0x80, 0xff] {
            bytes[at] = good[at] ^ mask;
            assert!(!takes(&bytes), "{what}: byte {at} xor {mask:#04x} is taken");
        }
        bytes[at] = good[at];
    }
}

#[test]
fn no_byte_of_a_transaction_can_change() {
    let bytes = encode(&transaction(operations()));
    assert_no_byte_can_change("a transaction", &bytes, |bytes| {
        SignedTransaction::decode(bytes).is_ok_and(|claim| claim.verify(&CHAIN).is_ok())
    });
}

#[test]
fn no_byte_of_an_envelope_can_change() {
    let bytes = encode(&envelope());
    assert_no_byte_can_change("an envelope", &bytes, |bytes| {
        Envelope::decode(bytes).is_ok_and(|claim| claim.verify_origin(&CHAIN).is_ok())
    });
}

#[test]
fn no_byte_of_an_attestation_can_change() {
    let bytes = encode(&attestation());
    assert_no_byte_can_change("an attestation", &bytes, |bytes| {
        Attestation::decode(bytes, &CHAIN).is_ok()
    });
}

/// With one signer more than is needed, and with just enough.
#[test]
fn no_byte_of_a_certified_header_can_change() {
    for signers in [3, 4] {
        let certified = CertifiedHeader {
            header: header(),
            certificate: certificate_by(signers, header().hash()),
        };
        assert_no_byte_can_change("a certified header", &encode(&certified), |bytes| {
            decode::<CertifiedHeader>(bytes, 1 << 16).is_ok_and(|claim| {
                let (height, block) = (claim.header.height, claim.header.hash());
                let set = validators();
                claim
                    .certificate
                    .verify_for(height, block, &CHAIN, &set)
                    .is_ok()
            })
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A quorum is more than two thirds, by any powers and any signers, counted with numbers that cannot overflow.
    #[test]
    fn a_certificate_counts_who_signed(set in arbitrary::validators(), chosen: u8) {
        let mut certificate = Certificate {
            height: Height(1),
            round: Round(0),
            block: BlockHash([1; 32]),
            signatures: vec![],
        };
        let mut signed = 0;
        let mut signers: Vec<_> = (1..=8).map(key).filter(|k| set.get(&k.address()).is_some()).collect();
        signers.sort_by_key(ledger::keys::SecretKey::address);
        for (n, key) in signers.iter().enumerate().filter(|(n, _)| chosen >> n & 1 == 1) {
            let validator = set.at(n).map(|v| (v.address, v.power.0));
            let (address, power) = validator.ok_or_else(|| TestCaseError::fail("in order"))?;
            prop_assert_eq!(address, key.address());
            signed += power;
            certificate.signatures.push(CommitSignature {
                validator: address,
                signature: certificate.vote(address).sign(&CHAIN, key),
            });
        }
        let found = certificate.verify_for(Height(1), BlockHash([1; 32]), &CHAIN, &set);
        let enough = u128::from(signed) * 3 > u128::from(set.total().0) * 2;
        let expected = if enough {
            Ok(())
        } else {
            Err(CertificateError::NoQuorum { signed: Power(signed), total: set.total() })
        };
        prop_assert_eq!(found, expected);
    }
}
