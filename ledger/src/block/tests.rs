//! What a header's claims are worth: outcomes that are not the header's are refused, and so is a header that cannot
//! stand where it does. Each fault is injected alone.

use super::rules::{Misplaced, Standing, TIME_MAX};
use super::*;
use crate::{
    certificate::{CertificateError, CommitSignature, SignedContent},
    genesis::PROTOCOL_VERSION,
    keys::SecretKey,
    state::Code,
    transaction::{Operation, Transaction},
    units::{Amount, Nonce, Power},
    validators::{Validator, ValidatorSet},
};

const CHAIN: ChainId = ChainId([5; 32]);

fn keys() -> Vec<SecretKey> {
    (1..=4).map(|n| SecretKey::from_seed([n; 32])).collect()
}

fn set() -> ValidatorSet {
    let one = |k: &SecretKey| Validator::new(k.public_key(), Power(1));
    ValidatorSet::new(keys().iter().map(one).collect()).unwrap()
}

fn certificate(header: &Header) -> Certificate {
    let mut certificate = Certificate {
        height: header.height,
        round: Round(0),
        block: header.hash(),
        signatures: vec![],
    };
    let mut keys = keys();
    keys.sort_by_key(SecretKey::address);
    let sign = |k: &SecretKey| CommitSignature {
        validator: k.address(),
        signature: certificate.vote(k.address()).sign(&CHAIN, k),
    };
    certificate.signatures = keys.iter().map(sign).collect();
    certificate
}

fn header(parent: Option<&Header>) -> Header {
    let height = parent.map_or(Height(1), |p| p.height.next());
    Header {
        protocol_version: PROTOCOL_VERSION,
        chain: CHAIN,
        height,
        round: Round(0),
        parent: parent.map(Header::hash).unwrap_or_default(),
        parent_certificate: parent.map(|p| certificate(p).hash()).unwrap_or_default(),
        time: TimestampMs(1_000 * height.0),
        proposer: set().proposer(height, Round(0)).address,
        transaction_ids: transaction_ids_hash([]),
        transactions_root: TransactionsRoot::default(),
        state_root: StateRoot::default(),
        validators: set().hash(),
        next_validators: set().hash(),
    }
}

fn committed(count: u64) -> CommittedBlock {
    let key = SecretKey::from_seed([9; 32]);
    let transactions: Vec<_> = (0..count)
        .map(|n| {
            let (to, amount) = (Address([1; 32]), Amount(n));
            Transaction {
                chain: CHAIN,
                sender: key.public_key(),
                nonce: Nonce(n),
                last_valid: Height(9),
                operations: vec![Operation::Transfer { to, amount }],
            }
            .sign(&key)
        })
        .collect();
    let outcome = |n: u64| Outcome {
        code: if n.is_multiple_of(2) {
            Code::Applied
        } else {
            Code::InsufficientBalance
        },
        found: n,
    };
    let outcomes: Vec<_> = (0..count).map(outcome).collect();
    let leaves = transactions
        .iter()
        .map(SignedTransaction::id)
        .zip(&outcomes);
    let mut header = header(None);
    header.transaction_ids = transaction_ids_hash(leaves.clone().map(|(id, _)| id));
    header.transactions_root = transactions_root(leaves);
    CommittedBlock {
        certificate: certificate(&header),
        block: UnverifiedBlock {
            header,
            transactions,
            parent_certificate: None,
        },
        outcomes,
    }
}

#[test]
fn the_header_proves_the_codes_and_not_the_figures() {
    let good = committed(5);
    let proven = good.verified_outcomes().unwrap();
    assert_eq!(proven.len(), 5);
    assert_eq!(proven[3].1.code, Code::InsufficientBalance);
    let header = CommittedBlock::logged_header(&codec::encode(&good)).unwrap();
    assert_eq!(header, good.block.header);
    let mut told = good.clone();
    told.outcomes[3].found = 77;
    assert_eq!(told.verified_outcomes().unwrap()[3].1.found, 77);
    let mut other_code = good.clone();
    other_code.outcomes[3] = Outcome::APPLIED;
    let error = other_code.verified_outcomes().unwrap_err();
    assert!(matches!(error, BlockError::Outcomes { .. }), "{error}");
    let mut swapped = good.clone();
    swapped.block.transactions.swap(0, 2);
    let error = swapped.verified_outcomes().unwrap_err();
    assert!(matches!(error, BlockError::Outcomes { .. }), "{error}");
    let mut short = good;
    short.outcomes.pop();
    let expected = BlockError::OutcomeCount {
        found: 4,
        expected: 5,
    };
    assert_eq!(short.verified_outcomes(), Err(expected));
}

/// What the second block's place says of a changed header with its parent's certificate.
fn judged(change: impl Fn(&mut Header, &mut Option<Certificate>)) -> Result<(), Misplaced> {
    let parent = header(None);
    let mut child = header(Some(&parent));
    let mut beside = Some(certificate(&parent));
    change(&mut child, &mut beside);
    let set = set();
    let standing = Standing {
        chain: &CHAIN,
        parent: Some(&parent),
        voters: &set,
        parent_voters: &set,
    };
    standing.check(&child, beside.as_ref())
}

#[test]
fn a_header_stands_only_where_it_belongs() {
    assert_eq!(judged(|_, _| ()), Ok(()));
    assert_eq!(
        judged(|h, _| h.protocol_version = 9),
        Err(Misplaced::Version(9))
    );
    assert_eq!(
        judged(|h, _| h.chain = ChainId([6; 32])),
        Err(Misplaced::Chain(ChainId([6; 32])))
    );
    let (found, expected) = (Height(3), Height(2));
    assert_eq!(
        judged(|h, _| h.height = found),
        Err(Misplaced::Height { found, expected })
    );
    assert!(matches!(
        judged(|h, _| h.parent = BlockHash([1; 32])),
        Err(Misplaced::Parent { .. })
    ));
    let (found, parent) = (TimestampMs(1_000), TimestampMs(1_000));
    assert_eq!(
        judged(|h, _| h.time = found),
        Err(Misplaced::Time { found, parent })
    );
    assert_eq!(
        judged(|h, _| h.time = TIME_MAX),
        Err(Misplaced::TimeTooFar(TIME_MAX))
    );
    assert!(matches!(
        judged(|h, _| h.round = Round(1)),
        Err(Misplaced::Proposer { .. })
    ));
    assert!(matches!(
        judged(|h, _| h.validators = ValidatorSetHash::default()),
        Err(Misplaced::Validators { .. })
    ));
}

#[test]
fn the_parents_certificate_is_the_one_named_and_holds() {
    let other = Err(Misplaced::OtherParentCertificate);
    assert_eq!(judged(|_, c| *c = None), other);
    let shorten = |c: &mut Option<Certificate>, to| {
        if let Some(c) = c {
            c.signatures.truncate(to);
        }
    };
    assert_eq!(judged(|_, c| shorten(c, 3)), other);
    let (signed, total) = (Power(2), Power(4));
    let two_sign = judged(|h, c| {
        shorten(c, 2);
        h.parent_certificate = c.as_ref().map(Certificate::hash).unwrap_or_default();
    });
    let expected = CertificateError::NoQuorum { signed, total };
    assert_eq!(two_sign, Err(Misplaced::ParentCertificate(expected)));
}

#[test]
fn a_body_is_the_headers_own_or_refused() {
    let judged = |block: &CommittedBlock| Untrusted::new(block.clone()).verify_body();
    let good = committed(3);
    assert_eq!(judged(&good), Ok(good.clone()));
    let mut fewer = good.clone();
    fewer.block.transactions.pop();
    assert_eq!(judged(&fewer), Err(Misplaced::OtherTransactions));
    let mut swapped = good.clone();
    swapped.block.transactions.swap(0, 1);
    assert_eq!(judged(&swapped), Err(Misplaced::OtherTransactions));
    let mut with_certificate = good.clone();
    with_certificate.block.parent_certificate = Some(certificate(&good.block.header));
    assert_eq!(
        judged(&with_certificate),
        Err(Misplaced::OtherParentCertificate)
    );
}
