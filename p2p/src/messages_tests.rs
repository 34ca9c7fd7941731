//! Questions and answers: their bytes as `docs/formats.md` draws them, and the bounds that are not in their types.

use super::*;

fn bytes(text: &str) -> Payload {
    Payload(text.into())
}

/// The bytes on the wire, pinned: a change here is a new [`crate::PROTOCOL_VERSION`].
#[test]
fn the_wire_format_stays() {
    let hex = |bytes: Vec<u8>| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let blocks = Question::Node(Request::Blocks {
        from: Height(258),
        max: 16,
    });
    assert_eq!(
        hex(codec::encode(&blocks)),
        "00000000000000010000000000000102".to_owned() + "00000010"
    );
    assert_eq!(hex(codec::encode(&Question::Peers)), "00000001");
    let answer = Answer::Node(Response::Blocks(vec![bytes("a"), bytes("bc")]));
    assert_eq!(
        hex(codec::encode(&answer)),
        "00000000000000010000000000000002".to_owned()
            + "000000000000000161"
            + "00000000000000026263"
    );
    let gone = Answer::Node(Response::NotHere {
        earliest: Height(9),
    });
    assert_eq!(
        hex(codec::encode(&gone)),
        "00000000000000090000000000000009"
    );
}

/// Every question and answer in the order of their numbers, field by field as `docs/formats.md` draws them.
#[test]
fn every_number_and_field_stays() {
    let hex = |bytes: Vec<u8>| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let (height, id) = (format!("{:016x}", 258), "0a".repeat(32));
    let at = Height(258);
    let (hash, some) = (Hash([10; 32]), "0100000000000000016b");
    let origin = EnvelopeId {
        origin: ledger::keys::PublicKey([10; 32]),
        incarnation: 1,
        sequence: 2,
    };
    let proposal = Request::Proposal {
        height: at,
        round: Round(3),
        block: BlockHash([10; 32]),
    };
    let children = Request::Children {
        height: at,
        prefix: bytes("k"),
    };
    let questions = [
        (Request::Status, String::new()),
        (
            Request::Blocks { from: at, max: 16 },
            format!("{height}00000010"),
        ),
        (
            Request::Bodies {
                ids: vec![TxId([10; 32])],
            },
            format!("{:016x}{id}", 1),
        ),
        (proposal, format!("{height}00000003{id}")),
        (
            Request::Envelope(origin),
            format!("{id}{:016x}{:016x}", 1, 2),
        ),
        (Request::Manifest { id: hash }, id.clone()),
        (
            Request::Chunk {
                id: hash,
                base: Some(hash),
            },
            format!("{id}01{id}"),
        ),
        (Request::Root { height: at }, height.clone()),
        (children, format!("{height}{:016x}6b", 1)),
        (Request::Light { height: at }, height.clone()),
    ];
    for (number, (request, fields)) in questions.into_iter().enumerate() {
        let found = hex(codec::encode(&Question::Node(request.clone())));
        let expected = format!("00000000{number:08x}{fields}");
        assert_eq!(found, expected, "the format has changed: {request:?}");
    }
    let status = Status {
        chain: ChainId([10; 32]),
        version: 1,
        height: at,
        earliest_block: Height(2),
        head: Some(bytes("k")),
        snapshots: vec![SnapshotOffer {
            height: at,
            manifest: hash,
            root: StateRoot([11; 32]),
            bytes: 5,
            chunks: 6,
        }],
    };
    let root = "0b".repeat(32);
    let offer = format!("{:016x}{height}{id}{root}{:016x}00000006", 1, 5);
    let status_bytes = format!("{id}00000001{height}{:016x}{some}{offer}", 2);
    let list = format!("{:016x}{:016x}6b", 1, 1);
    let one = || Some(bytes("k"));
    let answers = [
        (Response::Status(Box::new(status)), status_bytes),
        (Response::Blocks(vec![bytes("k")]), list.clone()),
        (Response::Bodies(vec![bytes("k")]), list.clone()),
        (Response::Proposal(one()), some.to_owned()),
        (Response::Envelope(one()), some.to_owned()),
        (Response::Manifest(one()), some.to_owned()),
        (Response::Chunk(None), "00".to_owned()),
        (
            Response::Root(Some(StateRoot([11; 32]))),
            format!("01{root}"),
        ),
        (Response::Children(one()), some.to_owned()),
        (Response::NotHere { earliest: at }, height),
        (Response::Light(one()), some.to_owned()),
    ];
    for (number, (response, fields)) in answers.into_iter().enumerate() {
        let found = hex(codec::encode(&Answer::Node(response.clone())));
        let expected = format!("00000000{number:08x}{fields}");
        assert_eq!(found, expected, "the format has changed: {response:?}");
    }
    let peers = hex(codec::encode(&Answer::Peers(vec![bytes("k")])));
    assert_eq!(peers, format!("00000001{list}"));
}

#[test]
fn every_message_decodes_to_itself() {
    let requests = [
        Request::Status,
        Request::Bodies {
            ids: vec![TxId([1; 32]), TxId([2; 32])],
        },
        Request::Proposal {
            height: Height(3),
            round: Round(1),
            block: BlockHash([4; 32]),
        },
        Request::Envelope(EnvelopeId {
            origin: ledger::keys::PublicKey([5; 32]),
            incarnation: 1,
            sequence: 2,
        }),
        Request::Children {
            height: Height(3),
            prefix: bytes("p"),
        },
    ];
    for request in requests.map(Question::Node) {
        let bytes = codec::encode(&request);
        let back: Question = codec::decode(&bytes, bytes.len()).expect("decodes");
        assert_eq!(back, request);
    }
    let status = Status {
        chain: ChainId([6; 32]),
        version: 1,
        height: Height(7),
        earliest_block: Height(2),
        head: Some(bytes("head")),
        snapshots: vec![SnapshotOffer {
            height: Height(5),
            manifest: Hash([8; 32]),
            root: StateRoot([9; 32]),
            bytes: 10,
            chunks: 1,
        }],
    };
    let answer = Answer::Node(Response::Status(Box::new(status)));
    let bytes = codec::encode(&answer);
    let back: Answer = codec::decode(&bytes, bytes.len()).expect("decodes");
    assert_eq!(back, answer);
}

#[test]
fn an_answer_fits_its_question() {
    let two = Response::Blocks(vec![bytes("a"), bytes("b")]);
    let ask = |max| Request::Blocks {
        from: Height(1),
        max,
    };
    assert!(ask(2).is_answered_by(&two));
    assert!(!ask(1).is_answered_by(&two), "more than was asked for");
    assert!(!Request::Status.is_answered_by(&two), "another kind");
    let gone = Response::NotHere {
        earliest: Height(9),
    };
    assert!(ask(1).is_answered_by(&gone));
    assert!(!Request::Status.is_answered_by(&gone));
}

/// So many different ids, in order.
fn ids(count: usize) -> Vec<TxId> {
    let id = |i: usize| {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(i as u64).to_be_bytes());
        TxId(id)
    };
    (0..count).map(id).collect()
}

#[test]
fn the_largest_request_fits_its_frame() {
    let most = Request::Bodies {
        ids: ids(BODIES_ASKED_MAX),
    };
    assert!(most.is_bounded());
    let size = codec::encode(&Question::Node(most)).len();
    assert!(size <= crate::REQUEST_BYTES_MAX as usize, "{size} bytes");
    let more = Request::Bodies {
        ids: ids(BODIES_ASKED_MAX + 1),
    };
    assert!(!more.is_bounded());
}

/// One id many times would make a small question an answer without bound.
#[test]
fn an_id_is_asked_for_once() {
    let [a, b] = [TxId([1; 32]), TxId([2; 32])];
    for (ids, bounded) in [
        (vec![], true),
        (vec![a, b], true),
        (vec![a, a], false),
        (vec![b, a], false),
    ] {
        let request = Request::Bodies { ids };
        assert_eq!(request.is_bounded(), bounded, "{request:?}");
    }
}
