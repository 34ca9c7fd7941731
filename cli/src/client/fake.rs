//! A node that is made up: it answers what a test says.

use super::Client;
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
};

/// A node that answers the document that `answer` gives for a path, and 404 where that gives none.
pub fn node(name: &str, answer: impl Fn(&str) -> Option<Value> + Send + 'static) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = String::new();
            let mut reader = BufReader::new(&stream);
            while reader.read_line(&mut request).unwrap() > 2 {}
            let path = request.split_whitespace().nth(1).unwrap_or_default();
            let (status, answer) = match answer(path) {
                Some(answer) => ("200 OK", answer),
                None => {
                    let error = json!({"code": "pruned", "message": "it is gone", "help": ""});
                    ("404 Not Found", json!({"error": error}))
                }
            };
            let body = answer.to_string();
            let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\n");
            let length = format!(
                "Connection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all([&*head, &length, &body].concat().as_bytes());
        }
    });
    Client::new(name, &url)
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
