//! Values of every kind, with the shapes that decoders and the state machine find hardest: empty, equal, largest.

use crate::samples::{self, key};
use ledger::{
    block::{CertifiedHeader, Header, UnverifiedBlock},
    certificate::{Certificate, CommitSignature},
    envelope::{Envelope, EnvelopeId},
    genesis::Parameters,
    hash::{
        Address, BlockHash, CertificateHash, ChainId, StateRoot, TransactionIdsHash,
        TransactionsRoot,
    },
    keys::{PublicKey, Signature},
    state::entries::Key,
    transaction::{Operation, Proposal, SignedTransaction, Transaction},
    units::{Amount, Height, Nonce, Power, Round, TimestampMs, Version},
    validators::{Validator, ValidatorSet},
};
use proptest::{collection::vec, option, prelude::*};

pub fn bytes(len_max: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..=len_max)
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..4, Just(u64::MAX), any::<u64>()]
}

fn hash() -> impl Strategy<Value = [u8; 32]> {
    prop_oneof![Just([0; 32]), Just([0xff; 32]), any::<[u8; 32]>()]
}

fn signature() -> impl Strategy<Value = Signature> {
    (hash(), hash()).prop_map(|(r, s)| {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&r);
        signature[32..].copy_from_slice(&s);
        Signature(signature)
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-z]{1,8}", "\\PC{0,12}"]
}

fn addresses() -> impl Strategy<Value = Vec<Address>> {
    vec(hash().prop_map(Address), 0..4)
}

pub fn parameters() -> impl Strategy<Value = Parameters> {
    (
        number(),
        number(),
        any::<u32>(),
        any::<u32>(),
        any::<u32>(),
        number(),
    )
        .prop_map(
            |(block, transaction, operations, key, value, chunk)| Parameters {
                block_bytes_max: block,
                transaction_bytes_max: transaction,
                operations_max: operations,
                key_bytes_max: key,
                value_bytes_max: value,
                chunk_bytes_max: chunk,
                ..Parameters::default()
            },
        )
}

fn proposal() -> impl Strategy<Value = Proposal> {
    prop_oneof![
        (hash(), number()).prop_map(|(key, power)| Proposal::Validator {
            public_key: PublicKey(key),
            power: Power(power),
        }),
        parameters().prop_map(Proposal::Parameters),
    ]
}

pub fn operation() -> impl Strategy<Value = Operation> {
    let expected = || option::of(number().prop_map(Version));
    prop_oneof![
        (hash(), number()).prop_map(|(to, amount)| Operation::Transfer {
            to: Address(to),
            amount: Amount(amount),
        }),
        (text(), addresses())
            .prop_map(|(space, writers)| Operation::CreateSpace { space, writers }),
        (text(), addresses()).prop_map(|(space, writers)| Operation::SetWriters { space, writers }),
        (text(), bytes(20), bytes(60), expected()).prop_map(|(space, key, value, expected)| {
            Operation::Put {
                space,
                key,
                value,
                expected,
            }
        }),
        (text(), bytes(20), expected()).prop_map(|(space, key, expected)| Operation::Delete {
            space,
            key,
            expected,
        }),
        proposal().prop_map(|proposal| Operation::Approve { proposal }),
    ]
}

pub fn transaction() -> impl Strategy<Value = SignedTransaction> {
    let parts = (
        hash(),
        hash(),
        number(),
        number(),
        vec(operation(), 0..4),
        signature(),
    );
    parts.prop_map(
        |(chain, sender, nonce, last_valid, operations, signature)| {
            let transaction = Transaction {
                chain: ChainId(chain),
                sender: PublicKey(sender),
                nonce: Nonce(nonce),
                last_valid: Height(last_valid),
                operations,
            };
            SignedTransaction {
                transaction,
                signature,
            }
        },
    )
}

pub fn envelope() -> impl Strategy<Value = Envelope> {
    let parts = (
        hash(),
        number(),
        number(),
        vec(transaction(), 0..3),
        signature(),
    );
    parts.prop_map(
        |(origin, sequence, colour, transactions, signature)| Envelope {
            id: EnvelopeId {
                origin: PublicKey(origin),
                incarnation: sequence,
                sequence,
            },
            colour: Height(colour),
            transactions,
            signature,
        },
    )
}

pub fn header() -> impl Strategy<Value = Header> {
    (hash(), hash(), number(), any::<u32>()).prop_map(|(a, b, number, round)| Header {
        height: Height(number),
        round: Round(round),
        parent: BlockHash(a),
        parent_certificate: CertificateHash(b),
        time: TimestampMs(number),
        transaction_ids: TransactionIdsHash(b),
        transactions_root: TransactionsRoot(a),
        state_root: StateRoot(b),
        ..samples::header()
    })
}

pub fn certificate() -> impl Strategy<Value = Certificate> {
    let one = (hash(), signature()).prop_map(|(validator, signature)| CommitSignature {
        validator: Address(validator),
        signature,
    });
    (number(), any::<u32>(), hash(), vec(one, 0..5)).prop_map(
        |(height, round, block, signatures)| Certificate {
            height: Height(height),
            round: Round(round),
            block: BlockHash(block),
            signatures,
        },
    )
}

pub fn certified_header() -> impl Strategy<Value = CertifiedHeader> {
    (header(), certificate()).prop_map(|(header, certificate)| CertifiedHeader {
        header,
        certificate,
    })
}

pub fn block() -> impl Strategy<Value = UnverifiedBlock> {
    (
        header(),
        vec(transaction(), 0..3),
        option::of(certificate()),
    )
        .prop_map(
            |(header, transactions, parent_certificate)| UnverifiedBlock {
                header,
                transactions,
                parent_certificate,
            },
        )
}

/// Sets of up to eight validators with any powers that a set may have.
pub fn validators() -> impl Strategy<Value = ValidatorSet> {
    let power = prop_oneof![Just(1u64), 1u64..10, 1u64..1 << 40];
    vec(power, 1..8).prop_map(|powers| {
        let one = |(n, power): (u8, u64)| Validator::new(key(n).public_key(), Power(power));
        ValidatorSet::new((1..).zip(powers).map(one).collect()).expect("a set")
    })
}

pub fn state_key() -> impl Strategy<Value = Key> {
    prop_oneof![
        Just(Key::Parameters),
        Just(Key::Validators),
        proposal().prop_map(Key::Approvals),
        hash().prop_map(|address| Key::Account(Address(address))),
        text().prop_map(Key::Space),
        (text(), bytes(20)).prop_map(|(space, key)| Key::Record { space, key }),
    ]
}
