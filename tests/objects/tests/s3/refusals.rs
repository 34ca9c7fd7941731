//! What is wrong with a server, its credentials or what was asked of it is told, with an exit code of its own. No node is needed.

use crate::{
    program::Program,
    server::{BUCKET, Server},
};

/// Nothing is believed by it; nothing gets as far.
const TRUST: &str = "1:abababababababababababababababababababababababababababababababab";

#[test]
fn what_keeps_a_bucket_from_being_read_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start();
    let mut program = Program::new(dir.path(), &server);
    let verify = |url: &str| format!("snapshot verify {url} --trust {TRUST}");
    let inside = verify(&format!("s3://{BUCKET}/nothing"));
    let nothing = program.fails(&inside, 3, "not_found");
    assert!(nothing.contains("no snapshot"), "{nothing}");
    program.fails(&verify(&format!("s3://{BUCKET}/nothing@7")), 3, "not_found");
    let bucket = program.fails(&verify("s3://elsewhere/x"), 3, "not_found");
    assert!(bucket.contains("NoSuchBucket"), "{bucket}");
    program.fails(&verify("s3://"), 2, "usage");
    program.secret = "else";
    let denied = program.fails(&inside, 1, "access_denied");
    assert!(denied.contains("SignatureDoesNotMatch"), "{denied}");
    let alone = Program::without_server(dir.path());
    let unreachable = alone.fails(&inside, 5, "unreachable");
    assert!(
        unreachable.contains(BUCKET) && unreachable.contains("refused"),
        "{unreachable}"
    );
    // Keys do not go over a line that is not encrypted unless that was asked for.
    program.is_http_allowed = false;
    let said = program.fails(&inside, 2, "usage");
    assert!(said.contains("not encrypted"), "{said}");
}
