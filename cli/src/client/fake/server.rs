//! An HTTP server that answers what a test says. Also of the tests of the program itself, which have this file by its path.

use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
};

/// Answers each request by what `answer` gives for its target: a status and a document. Returns the URL.
pub fn serve(answer: impl Fn(&str) -> (u16, Value) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = String::new();
            let mut reader = BufReader::new(&stream);
            while reader.read_line(&mut request).unwrap() > 2 {}
            let (status, document) = answer(request.split(' ').nth(1).unwrap_or_default());
            let body = document.to_string();
            let head = format!(
                "HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all([head, body].concat().as_bytes());
        }
    });
    url
}

/// The status of a node that is at a height.
pub fn status(name: &str, height: u64, ready: bool, spaces: &[&str]) -> Value {
    let hash = "00".repeat(32);
    json!({
        "name": name, "version": "0", "public_key": hash, "chain_id": hash, "chain_name": "c",
        "validator": true, "voting": true, "ready": ready, "height": height, "block_hash": null,
        "block_time": null, "state_root": hash, "last_block_transactions": 0,
        "earliest_block": null, "peers": 0, "p2p": [], "mempool": 0, "snapshot": null,
        "sync": null, "alarm": null, "stands_still_seconds": null, "spaces": spaces,
    })
}
