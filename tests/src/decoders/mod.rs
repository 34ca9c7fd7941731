//! Every decoder of bytes that come from outside (a peer, a client, a disk, an operator), each as one plain function, so that
//! the harness of `tests/tests/decoders.rs` and the targets of `tests/fuzz` run the very same things.
//!
//! A decoder does with its bytes what the node does: decodes them and verifies what came of it. It must not panic; it must
//! not allocate for what the bytes only promise; and what it takes must be the encoding of what it is taken for. It
//! answers whether the bytes were taken.
//!
//! Not here: the frames and questions around requests, which are private to `p2p` and tested there; the JSON body of a
//! submission, private to `node::api` and tested there (inside it stands a transaction, which is here).

pub mod mutate;
mod samples;

use crate::chain::CHAIN;
use ledger::{
    block::{CertifiedHeader, CommittedBlock},
    codec::{self, encode},
    envelope::{Attestation, Envelope},
    genesis::Genesis,
    hash::Hash,
    light::{Checkpoint, LightBlock, Trusted},
    state::{
        State,
        entries::Key,
        places::Places,
        tree::{Part, PlaceRange, Proof, RangeProof, fold},
    },
    store::{HashPrefix, LogReader, Wal},
    transaction::SignedTransaction,
    units::Height,
    untrusted::Untrusted,
};
use node::{
    config::{Config, parse_key},
    replica::message::{Message, WalRecord},
};
use p2p::{Multiaddr, Request, Response};
use samples::Samples;
use serde::{Serialize, de::DeserializeOwned};
use snapshot::{
    archive::UnverifiedArchive, chunk, manifest::UntrustedManifest, pinpoint::decode_parts,
};
use std::{fs, path::Path, sync::LazyLock};

/// A decoder, and bytes that it takes or nearly takes, from which others are made.
pub struct Decoder {
    /// Its name, which is also that of its fuzz target.
    pub name: &'static str,
    /// Decodes and verifies bytes; says whether they were taken.
    pub run: fn(&[u8]) -> bool,
    /// Good bytes: the decoder takes at least one of them.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// What one run costs, about, in tens of microseconds: dear ones are run less often.
    pub cost: u32,
}

static SAMPLES: LazyLock<Samples> = LazyLock::new(Samples::new);

macro_rules! decoders {
    ($($name:ident, $cost:literal, $seeds:expr;)*) => {
        /// All of them.
        pub const ALL: &[Decoder] = &[$(Decoder {
            name: stringify!($name),
            run: $name,
            seeds: || $seeds,
            cost: $cost,
        }),*];
    };
}

decoders! {
    transaction, 8, SAMPLES.transactions.iter().map(encode).collect();
    envelope, 8, vec![encode(&SAMPLES.envelope)];
    attestation, 8, vec![encode(&SAMPLES.attestation)];
    certified_header, 20, vec![encode(&SAMPLES.certified)];
    committed_block, 30, SAMPLES.committed_blocks();
    message, 1, SAMPLES.messages().iter().map(encode).collect();
    wal_record, 1, SAMPLES.wal_records().iter().map(encode).collect();
    manifest, 40, vec![SAMPLES.manifest.encode()];
    chunk_of_a_manifest, 10, vec![SAMPLES.chunk.clone()];
    patch_of_a_chunk, 10, vec![SAMPLES.patch.clone()];
    archive, 60, vec![SAMPLES.archive()];
    state_key, 1, SAMPLES.state_keys().iter().map(Key::encode).collect();
    proof, 2, SAMPLES.proofs().iter().map(encode).collect();
    range_proof, 4, SAMPLES.range_proofs().iter().map(encode).collect();
    state_parts, 1, vec![encode(&SAMPLES.state_parts())];
    light_block, 20, vec![encode(&SAMPLES.light_block())];
    request, 1, SAMPLES.requests().iter().map(encode).collect();
    response, 1, SAMPLES.responses().iter().map(encode).collect();
    peer_address, 1, SAMPLES.addresses();
    genesis_json, 8, vec![SAMPLES.genesis.to_json().into_bytes()];
    config_toml, 20, SAMPLES.configs();
    key_file, 4, vec![b"11".repeat(32), [&b"aF".repeat(32)[..], b"\n"].concat()];
    hex_text, 1, vec![b"0123456789abcdef".repeat(4), b"01234567".to_vec()];
    submitted_list, 5, vec![encode(&vec![encode(&SAMPLES.transactions[0]); 3])];
    log_segment, 100, SAMPLES.log_segment();
    wal_file, 300, SAMPLES.wal_file();
}

/// Runs the decoder of that name; for the fuzz targets, which are named alike.
pub fn run(name: &str, bytes: &[u8]) {
    if let Some(decoder) = ALL.iter().find(|decoder| decoder.name == name) {
        (decoder.run)(bytes);
    }
}

/// What was taken must be what the bytes are the encoding of.
fn canonical<T: Serialize>(value: &T, bytes: &[u8]) {
    assert!(encode(value) == bytes, "another encoding was taken");
}

fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let value = codec::decode(bytes, bytes.len()).ok()?;
    canonical(&value, bytes);
    Some(value)
}

fn transaction(bytes: &[u8]) -> bool {
    SignedTransaction::decode(bytes).is_ok_and(|claim| {
        canonical(claim.claim(), bytes);
        claim
            .verify(&CHAIN)
            .is_ok_and(|verified| verified.check_limits(&SAMPLES.genesis.parameters).is_ok())
    })
}

fn envelope(bytes: &[u8]) -> bool {
    Envelope::decode(bytes).is_ok_and(|claim| {
        canonical(claim.claim(), bytes);
        claim.verify_origin(&CHAIN).is_ok_and(|envelope| {
            let untrusted = envelope.transactions.into_iter().map(Untrusted::new);
            let checked = ledger::transaction::verify_batch(untrusted.collect(), &CHAIN);
            checked.iter().all(Result::is_ok)
        })
    })
}

fn attestation(bytes: &[u8]) -> bool {
    Attestation::decode(bytes, &CHAIN).is_ok_and(|attestation| {
        canonical(&attestation, bytes);
        true
    })
}

fn certified_header(bytes: &[u8]) -> bool {
    decode(bytes).is_some_and(|claim: CertifiedHeader| {
        let (height, block) = (claim.header.height, claim.header.hash());
        let set = &SAMPLES.validators;
        let verdict = claim.certificate.verify_for(height, block, &CHAIN, set);
        verdict.is_ok()
    })
}

fn committed_block(bytes: &[u8]) -> bool {
    // The same bytes from our own log, behind a checksum.
    let own = codec::decode_unchecked::<CommittedBlock>(bytes, ledger::block::BLOCK_BYTES_MAX);
    let claim = CommittedBlock::decode(bytes);
    assert!(own.is_ok() || claim.is_err(), "taken from a peer alone");
    claim.is_ok_and(|claim| {
        canonical(claim.claim(), bytes);
        claim.verify_body().is_ok_and(|committed| {
            let CommittedBlock {
                block, certificate, ..
            } = committed;
            let (height, hash) = (block.header.height, block.header.hash());
            let set = &SAMPLES.validators;
            let certified = certificate.verify_for(height, hash, &CHAIN, set);
            certified.is_ok() && block.verify_transactions(&CHAIN).is_ok()
        })
    })
}

fn message(bytes: &[u8]) -> bool {
    Message::decode(bytes).is_ok_and(|message| {
        canonical(&message, bytes);
        message.height() >= Height::GENESIS
    })
}

fn wal_record(bytes: &[u8]) -> bool {
    codec::decode_unchecked::<WalRecord>(bytes, codec::ENCODED_BYTES_MAX).is_ok()
}

fn manifest(bytes: &[u8]) -> bool {
    UntrustedManifest::decode(bytes).is_ok_and(|claim| {
        let id = claim.id();
        let verified = claim.verify(&CHAIN, &SAMPLES.validators);
        verified.is_ok_and(|manifest| {
            assert_eq!(manifest.id(), id, "verifying changed the id");
            assert!(manifest.encode() == bytes, "another encoding was taken");
            true
        })
    })
}

fn chunk_of_a_manifest(bytes: &[u8]) -> bool {
    let Some(wanted) = SAMPLES.manifest.chunks().first() else {
        return false;
    };
    chunk::verify(bytes, wanted).is_ok_and(|chunk| {
        assert_eq!(chunk.id(), wanted.id(), "another chunk was taken");
        true
    })
}

fn patch_of_a_chunk(bytes: &[u8]) -> bool {
    let Some(wanted) = SAMPLES.manifest.chunks().first() else {
        return false;
    };
    let _ = chunk::patch::compose(&[bytes.to_vec(), bytes.to_vec()], chunk::BYTES_MAX);
    let patched = SAMPLES.manifest.verify_patch(wanted, &SAMPLES.base, bytes);
    patched.is_ok_and(|chunk| {
        assert_eq!(chunk.id(), wanted.id(), "another chunk was taken");
        true
    })
}

fn archive(bytes: &[u8]) -> bool {
    let verify = |m: UntrustedManifest| m.verify(&CHAIN, &SAMPLES.validators);
    let opened = UnverifiedArchive::open(bytes).and_then(|archive| archive.verify_by(verify));
    opened.is_ok_and(|mut archive| {
        let sound = archive.by_ref().all(|chunk| chunk.is_ok());
        assert!(
            archive.manifest().root() == SAMPLES.state.root(),
            "a falsehood was taken"
        );
        sound
    })
}

fn state_key(bytes: &[u8]) -> bool {
    Places::default().of(bytes).is_some_and(|place| {
        let key: Option<Key> = codec::decode(bytes, bytes.len()).ok();
        assert_eq!(
            key.map(|key| key.place()),
            Some(place),
            "another place was found"
        );
        true
    })
}

fn proof(bytes: &[u8]) -> bool {
    decode(bytes).is_some_and(|proof: Proof| {
        let tree = SAMPLES.state.tree();
        SAMPLES.state_keys().iter().any(|key| {
            let place = key.place();
            proof.verify(tree.root(), &place).is_ok_and(|proven| {
                assert_eq!(proven, tree.get(&place), "a falsehood was proven");
                true
            })
        })
    })
}

fn state_parts(bytes: &[u8]) -> bool {
    decode_parts(bytes).is_ok_and(|parts| {
        assert_eq!(encode(&parts), bytes, "another encoding was taken");
        let is_the_state = fold(&parts).is_ok_and(|f| f.root == SAMPLES.state.root());
        // Of a part's prefix only the bit at which it parts from its neighbours is proven.
        let of = |parts: &[Part]| parts.iter().map(|p| (p.hash, p.totals)).collect::<Vec<_>>();
        let own = SAMPLES.state_parts();
        assert!(!is_the_state || parts.len() != own.len() || of(&parts) == of(&own));
        is_the_state
    })
}

fn range_proof(bytes: &[u8]) -> bool {
    let space = PlaceRange::from(Key::space_subtree("notes"));
    let nothing = PlaceRange::from(Key::space_subtree("nothing"));
    decode(bytes).is_some_and(|proof: RangeProof| {
        let tree = SAMPLES.state.tree();
        [PlaceRange::ALL, space, nothing].iter().any(|range| {
            proof.verify(tree.root(), *range).is_ok_and(|proven| {
                let all = tree.iter().filter(|e| range.contains(&e.place));
                let shown = all.take_while(|e| proven.next.is_none_or(|next| e.place < next));
                assert!(shown.eq(proven.entries), "a falsehood was proven");
                true
            })
        })
    })
}

fn light_block(bytes: &[u8]) -> bool {
    let trusted = Trusted::genesis(&SAMPLES.genesis);
    LightBlock::decode(bytes).is_ok_and(|block| {
        canonical(&block, bytes);
        trusted.is_ok_and(|trusted| {
            let checkpoint = Checkpoint {
                height: block.header.height,
                hash: SAMPLES.certified.certificate.block,
            };
            let as_checkpoint = Trusted::block(checkpoint, block.clone()).is_ok();
            trusted.verify(block).is_ok() || as_checkpoint
        })
    })
}

fn request(bytes: &[u8]) -> bool {
    decode::<Request>(bytes).is_some()
}

fn response(bytes: &[u8]) -> bool {
    decode::<Response>(bytes).is_some()
}

fn peer_address(bytes: &[u8]) -> bool {
    Multiaddr::try_from(bytes.to_vec()).is_ok_and(|address| address.iter().count() > 0)
}

fn genesis_json(bytes: &[u8]) -> bool {
    Genesis::from_json(bytes).is_ok_and(|genesis| {
        let again = Genesis::from_json(genesis.to_json().as_bytes());
        assert_eq!(again.as_ref(), Ok(&genesis), "its own text reads otherwise");
        // A few bytes can ask for millions of records: that is its purpose, and not for here.
        let is_small = genesis.generated.is_none_or(|g| g.count <= 1_000);
        !is_small || State::genesis(&genesis).is_ok()
    })
}

fn config_toml(bytes: &[u8]) -> bool {
    let path = Path::new("tintype.toml");
    let Ok(text) = str::from_utf8(bytes) else {
        return false;
    };
    Config::parse(text, path).is_ok_and(|config| {
        let text = config.to_toml(path).unwrap_or_default();
        let again = Config::parse(&text, path).ok();
        assert_eq!(
            again.as_ref(),
            Some(&config),
            "its own text reads otherwise"
        );
        true
    })
}

fn key_file(bytes: &[u8]) -> bool {
    str::from_utf8(bytes).is_ok_and(|text| parse_key(text).is_some())
}

fn hex_text(bytes: &[u8]) -> bool {
    str::from_utf8(bytes)
        .is_ok_and(|text| text.parse::<Hash>().is_ok() | text.parse::<HashPrefix>().is_ok())
}

fn submitted_list(bytes: &[u8]) -> bool {
    decode(bytes).is_some_and(|list: Vec<Vec<u8>>| list.iter().any(|one| transaction(one)))
}

/// The bytes of a record file with checksums that hold, as far as its records can be told apart: what is wrong inside is
/// then met, where otherwise the first checksum would end it.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    const FILE_HEADER: usize = 56;
    const RECORD_HEADER: usize = 36;
    let mut bytes = bytes.to_vec();
    let Some((header, records)) = bytes.split_at_mut_checked(FILE_HEADER) else {
        return bytes;
    };
    let checksum = crc32fast::hash(&header[..52]);
    header[52..].copy_from_slice(&checksum.to_be_bytes());
    let (salt, mut rest, mut offset) = (&header[12..20], records, FILE_HEADER as u64);
    let checksum = |offset: u64, bytes: &[u8]| {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(salt);
        hasher.update(&offset.to_be_bytes());
        hasher.update(bytes);
        hasher.finalize().to_be_bytes()
    };
    while let Some((head, behind)) = rest.split_at_mut_checked(RECORD_HEADER) {
        let len = head.get(4..8).and_then(|len| len.try_into().ok());
        let len = len.map_or(0, u32::from_be_bytes) as usize;
        let Some((payload, behind)) = behind.split_at_mut_checked(len) else {
            break;
        };
        head[28..32].copy_from_slice(&checksum(offset, payload));
        let sum = checksum(offset, &head[..32]);
        head[32..].copy_from_slice(&sum);
        offset += (RECORD_HEADER + len) as u64;
        rest = behind;
    }
    bytes
}

/// A segment of the block log as an operator may find it on a disk; and with its checksums made good.
fn log_segment(bytes: &[u8]) -> bool {
    scan_segment(&sealed(bytes)) | scan_segment(bytes)
}

fn wal_file(bytes: &[u8]) -> bool {
    open_wal(&sealed(bytes)) | open_wal(bytes)
}

fn scan_segment(bytes: &[u8]) -> bool {
    in_a_folder(
        &format!("{:020}.log", samples::SEGMENT_FIRST.0),
        bytes,
        |dir| {
            let Ok((log, report)) = LogReader::open(dir) else {
                return false;
            };
            let blocks = log.iter_from(samples::SEGMENT_FIRST);
            let whole = blocks.map_while(Result::ok).count();
            let first = report.first.map_or(0, |first| first.0);
            let promised = report.last.map_or(0, |last| last.0 + 1 - first);
            assert_eq!(
                whole as u64, promised,
                "a block that was scanned is not read"
            );
            report.cut.is_none()
        },
    )
}

fn open_wal(bytes: &[u8]) -> bool {
    in_a_folder("promises", bytes, |dir| {
        let Ok(Some(opened)) = Wal::open(dir, Height::GENESIS) else {
            return false;
        };
        let (entries, whole) = (opened.entries, opened.cut.is_none());
        drop(opened.wal);
        let again = Wal::open(dir, Height::GENESIS).ok().flatten();
        let again = again.map(|opened| opened.entries);
        assert_eq!(
            again,
            Some(entries),
            "opened twice, it holds something else"
        );
        whole
    })
}

/// The folder is kept from one run to the next: making one takes longer than the run.
fn in_a_folder(name: &str, bytes: &[u8], act: impl Fn(&Path) -> bool) -> bool {
    static DIR: LazyLock<Option<tempfile::TempDir>> = LazyLock::new(|| tempfile::tempdir().ok());
    let Some(dir) = DIR.as_ref().map(|dir| dir.path().join(name)) else {
        return false;
    };
    fs::create_dir_all(&dir).is_ok() && fs::write(dir.join(name), bytes).is_ok() && act(&dir)
}
