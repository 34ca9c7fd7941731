//! Ed25519 keys and signatures under one rule: ZIP 215.
//!
//! A signature is valid exactly when ZIP 215 says so, singly or in a batch, for transactions, votes and certificates
//! alike. Two rules on two paths would let a crafted signature split the chain.

use crate::hash::{Address, Domain, Hasher, fixed_bytes};
use ed25519_zebra as zebra;
use std::fmt;

/// A public key, not yet known to be a point of the curve.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);
fixed_bytes!(PublicKey, 32);

/// A signature, not yet verified.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature(pub [u8; 64]);
fixed_bytes!(Signature, 64);

/// A secret key. Zeroized when dropped; never printed.
#[derive(Clone)]
pub struct SecretKey(zebra::SigningKey);

/// The signature is not one by that key over those bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct InvalidSignature;

impl SecretKey {
    /// The key of a 32-byte seed.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(zebra::SigningKey::from(seed))
    }

    /// The seed, for the key file and for the transport, which has the same identity.
    pub fn seed(&self) -> [u8; 32] {
        self.0.into()
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(zebra::VerificationKeyBytes::from(&self.0).into())
    }

    /// The address of the public half.
    pub fn address(&self) -> Address {
        self.public_key().address()
    }

    /// Signs bytes that begin with a [`Domain`] tag.
    pub fn sign(&self, domain: Domain, bytes: &[u8]) -> Signature {
        Signature(self.0.sign(&tagged(domain, bytes)).into())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public_key())
    }
}

impl PublicKey {
    /// The address of the account this key controls.
    pub fn address(&self) -> Address {
        Hasher::new(Domain::Address).chain(self.0).finish().into()
    }

    /// Whether somebody can have the secret half, and nobody can sign without it. False for bytes that are no point of
    /// the curve, and for the points of small order, such as all zeros: by ZIP 215 the empty signature holds for them.
    pub fn can_be_owned(&self) -> bool {
        let mut empty = [0; 64];
        empty[0] = 1; // the neutral point, and the scalar 0
        let is_point = zebra::VerificationKey::try_from(self.0).is_ok();
        is_point && self.verify(Domain::Vote, b"", &Signature(empty)).is_err()
    }

    /// Checks one signature.
    ///
    /// # Errors
    /// [`InvalidSignature`].
    pub fn verify(
        &self,
        domain: Domain,
        bytes: &[u8],
        signature: &Signature,
    ) -> Result<(), InvalidSignature> {
        let key = zebra::VerificationKey::try_from(self.0).map_err(|_| InvalidSignature)?;
        key.verify(&zebra::Signature::from(signature.0), &tagged(domain, bytes))
            .map_err(|_| InvalidSignature)
    }
}

fn tagged(domain: Domain, bytes: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(bytes.len() + 8);
    message.extend_from_slice(b"tintype");
    message.push(domain as u8);
    message.extend_from_slice(bytes);
    message
}

/// Signatures to check together, which costs less than half as much as one by one, with the same verdict.
#[derive(Default)]
pub struct Batch {
    items: Vec<zebra::batch::Item>,
}

impl Batch {
    /// An empty batch with room for `capacity` signatures.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            items: Vec::with_capacity(capacity),
        }
    }

    /// Adds a signature to check.
    pub fn add(&mut self, key: &PublicKey, domain: Domain, bytes: &[u8], signature: &Signature) {
        let message = tagged(domain, bytes);
        self.items.push(zebra::batch::Item::from((
            key.0.into(),
            signature.0.into(),
            &message,
        )));
    }

    /// Checks all at once, and says which are valid. A bad one is found by checking singly.
    pub fn verify(self) -> Vec<bool> {
        let mut batch = zebra::batch::Verifier::new();
        for item in &self.items {
            batch.queue(item.clone());
        }
        if batch.verify(rand_core::OsRng).is_ok() {
            return vec![true; self.items.len()];
        }
        self.items
            .into_iter()
            .map(|item| item.verify_single().is_ok())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_key_domain_and_bytes_only() {
        let key = SecretKey::from_seed([7; 32]);
        let signature = key.sign(Domain::Vote, b"yes");
        let public = key.public_key();
        assert!(public.can_be_owned());
        assert!(!PublicKey([2; 32]).can_be_owned(), "no point of the curve");
        assert_eq!(public.verify(Domain::Vote, b"yes", &signature), Ok(()));
        assert_eq!(
            public.verify(Domain::Vote, b"no", &signature),
            Err(InvalidSignature)
        );
        assert_eq!(
            public.verify(Domain::Proposal, b"yes", &signature),
            Err(InvalidSignature)
        );
        let other = SecretKey::from_seed([8; 32]).public_key();
        assert_eq!(
            other.verify(Domain::Vote, b"yes", &signature),
            Err(InvalidSignature)
        );
    }

    #[test]
    fn a_batch_names_the_bad_ones() {
        let key = SecretKey::from_seed([7; 32]);
        let mut batch = Batch::default();
        for i in 0..20u8 {
            let signature = key.sign(Domain::Vote, &[i]);
            let said = if i % 7 == 3 { 99 } else { i };
            batch.add(&key.public_key(), Domain::Vote, &[said], &signature);
        }
        let verdicts = batch.verify();
        let bad: Vec<usize> = (0..20).filter(|&i| !verdicts[i]).collect();
        assert_eq!(bad, [3, 10, 17]);
    }

    /// The eight points of small order and their non-canonical encodings: ZIP 215's edge cases, on which other rules
    /// give different verdicts singly and in batches.
    #[test]
    fn edge_case_points_get_one_verdict_on_every_path() {
        let points = [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "0100000000000000000000000000000000000000000000000000000000000080",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ];
        for key in points {
            for r in points {
                let key: PublicKey = key.parse().unwrap();
                let signature: Signature = format!("{r}{}", "00".repeat(32)).parse().unwrap();
                let single = key.verify(Domain::Vote, b"Zcash", &signature).is_ok();
                let mut batch = Batch::default();
                batch.add(&key, Domain::Vote, b"Zcash", &signature);
                let good = SecretKey::from_seed([1; 32]);
                let honest = good.sign(Domain::Vote, b"x");
                batch.add(&good.public_key(), Domain::Vote, b"x", &honest);
                assert_eq!(batch.verify(), [single, true], "{key} {r}");
                assert!(!key.can_be_owned(), "{key}: anybody can sign for it");
                assert!(
                    single,
                    "ZIP 215 accepts every point of small order: {key} {r}"
                );
            }
        }
    }
}
