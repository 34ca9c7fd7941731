//! Stands between the program and a node, and counts which requests pass.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// The proxy, for as long as the test runs.
pub struct Proxy {
    pub url: String,
    passed: Arc<Mutex<Vec<u8>>>,
}

impl Proxy {
    /// In front of `http://HOST:PORT`.
    pub fn before(node: &str) -> Self {
        let node = node.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let passed = Arc::new(Mutex::new(Vec::new()));
        let noted = passed.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let node = TcpStream::connect(&node).unwrap();
                let (mut answers, mut to_client) =
                    (node.try_clone().unwrap(), client.try_clone().unwrap());
                let noted = noted.clone();
                thread::spawn(move || pass_on(client, node, &noted));
                thread::spawn(move || {
                    let _ = std::io::copy(&mut answers, &mut to_client);
                    let _ = to_client.shutdown(Shutdown::Both);
                });
            }
        });
        Self { url, passed }
    }

    /// How many chunks were asked for since the last call.
    pub fn take_chunks(&self) -> usize {
        let passed = std::mem::take(&mut *self.passed.lock().unwrap());
        let text = String::from_utf8(passed).unwrap();
        let chunks = text.lines().filter(|line| line.contains("/chunks/"));
        chunks.count()
    }
}

fn pass_on(mut client: TcpStream, mut node: TcpStream, noted: &Mutex<Vec<u8>>) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = client.read(&mut buffer) {
        request.extend_from_slice(&buffer[..read]);
        // Noted before it is passed on, so that whoever has the answer finds it; whole requests, so that lines stay whole.
        if request.ends_with(b"\r\n\r\n") {
            noted.lock().unwrap().append(&mut request.clone());
            if node.write_all(&request).is_err() {
                break;
            }
            request.clear();
        }
    }
    let _ = node.shutdown(Shutdown::Both);
}
