//! Real nodes on loopback, in one process.

use ledger::{
    genesis::{Genesis, GenesisAccount, GenesisValidator, PROTOCOL_VERSION, Parameters},
    hash::Address,
    keys::PublicKey,
    units::{Amount, Power, TimestampMs},
};
use node::{
    config::{Config, NodeDir},
    runtime::{self, NodeError, Recovered},
};
use serde_json::Value;
use std::{
    io::BufRead,
    net::TcpListener,
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// Long enough for any machine; a failure shows what was seen instead.
pub const LIMIT: Duration = Duration::from_secs(60);
pub const ALICE: Address = Address([0xA1; 32]);

/// Ports that were free a moment ago.
pub fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let port = |l: &TcpListener| l.local_addr().unwrap().port();
    listeners.iter().map(port).collect()
}

/// Folders with one genesis, each node knowing where the others listen.
pub fn folders(root: &std::path::Path, count: usize) -> (Vec<NodeDir>, Vec<PublicKey>) {
    let dirs: Vec<NodeDir> = (0..count)
        .map(|i| NodeDir::new(root.join(format!("node{i}"))))
        .collect();
    let mut keys = Vec::new();
    for dir in &dirs {
        std::fs::create_dir(dir.path()).unwrap();
        keys.push(dir.create_identity().unwrap().public_key());
    }
    let validators = keys.iter().zip(0..).map(|(key, i)| GenesisValidator {
        name: format!("node{i}"),
        public_key: *key,
        power: Power(1),
    });
    let genesis = Genesis {
        protocol_version: PROTOCOL_VERSION,
        chain_name: "astray".into(),
        time: TimestampMs(1_700_000_000_000),
        parameters: Parameters {
            snapshot_interval: 10,
            ..Parameters::default()
        },
        validators: validators.collect(),
        accounts: vec![GenesisAccount {
            name: "alice".into(),
            address: ALICE,
            balance: Amount(1_000),
        }],
        generated: None,
    };
    let ports = free_ports(count);
    let address = |port: &u16| format!("/ip4/127.0.0.1/tcp/{port}");
    for (i, dir) in dirs.iter().enumerate() {
        let mut config = Config::named(format!("node{i}"));
        config.p2p.listen = vec![address(&ports[i])];
        config.p2p.peers = ports.iter().map(address).collect();
        config.p2p.peers.remove(i);
        config.timing.idle_block_interval_ms = 20;
        dir.write_config(&config).unwrap();
        let text = serde_json::to_vec(&genesis).unwrap();
        std::fs::write(dir.genesis_file(), text).unwrap();
    }
    (dirs, keys)
}

pub struct Net {
    nodes: Vec<JoinHandle<Result<(), NodeError>>>,
    stop: watch::Sender<bool>,
    urls: Vec<String>,
}

impl Net {
    pub fn start(dirs: &[NodeDir], prepare: impl Fn(usize, &mut Recovered)) -> Self {
        let (stop, stopping) = watch::channel(false);
        let mut nodes = Vec::new();
        for (i, dir) in dirs.iter().enumerate() {
            // Of an earlier start: it would say where nobody listens any more.
            let _ = std::fs::remove_file(dir.path().join("run.json"));
            let mut recovered = runtime::recover(dir.clone()).unwrap();
            prepare(i, &mut recovered);
            let stopping = stopping.clone();
            let http = runtime::listen(&recovered.config).unwrap();
            nodes.push(std::thread::spawn(move || {
                runtime::run_until(recovered, &http, |_| {}, &stopping)
            }));
        }
        let urls = dirs
            .iter()
            .map(|dir| wait_for("its address", || dir.run_info().map(|info| info.http)))
            .collect();
        Self { nodes, stop, urls }
    }

    /// Stops all nodes, and returns when their folders are free.
    pub fn stop(self) {
        self.stop.send_replace(true);
        for node in self.nodes {
            node.join().unwrap().unwrap();
        }
    }

    /// Waits until a node has committed a height.
    pub fn reach(&self, node: usize, height: u64) {
        wait_for("a height", || {
            (self.status(node)?["height"].as_u64()? >= height).then_some(())
        });
    }

    pub fn text(&self, node: usize, path: &str) -> Option<String> {
        let url = format!("{}{path}", self.urls[node]);
        ureq::get(url).call().ok()?.body_mut().read_to_string().ok()
    }

    /// What a node answers, an error document included.
    pub fn any_text(&self, node: usize, path: &str) -> String {
        let url = format!("{}{path}", self.urls[node]);
        let asked = ureq::get(url).config().http_status_as_error(false).build();
        asked.call().unwrap().body_mut().read_to_string().unwrap()
    }

    /// One of a node's figures.
    pub fn metric(&self, node: usize, name: &str) -> u64 {
        let text = self.any_text(node, "/metrics");
        let start = format!("tintype_{name} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&start));
        value.unwrap().parse().unwrap()
    }

    /// Lets a node take a snapshot now, as its operator. Gives the height.
    pub fn take_snapshot(&self, node: usize, dir: &NodeDir) -> u64 {
        let url = format!("{}/v1/snapshots", self.urls[node]);
        let bearer = format!("Bearer {}", dir.token().unwrap());
        let answer = ureq::post(url).header("authorization", bearer).send_empty();
        let text = answer.unwrap().body_mut().read_to_string().unwrap();
        let info: Value = serde_json::from_str(&text).unwrap();
        info["height"].as_u64().unwrap()
    }

    /// What a node answers to a document.
    pub fn post(&self, node: usize, path: &str, body: &Value) -> Option<Value> {
        let url = format!("{}{path}", self.urls[node]);
        let answer = ureq::post(url)
            .header("content-type", "application/json")
            .send(body.to_string());
        let text = answer.ok()?.body_mut().read_to_string().ok()?;
        serde_json::from_str(&text).ok()
    }

    pub fn status(&self, node: usize) -> Option<Value> {
        serde_json::from_str(&self.text(node, "/v1/status")?).ok()
    }

    /// The first alarm that a node tells those who listen, from now on.
    pub fn alarm_event(&self, node: usize) -> std::sync::mpsc::Receiver<Value> {
        let url = format!("{}/v1/events", self.urls[node]);
        let (sender, events) = std::sync::mpsc::channel();
        let answer = ureq::get(url).call().unwrap();
        std::thread::spawn(move || {
            let lines = std::io::BufReader::new(answer.into_body().into_reader()).lines();
            for line in lines.map_while(Result::ok) {
                let Some(data) = line.strip_prefix("data:") else {
                    continue;
                };
                let event: Value = serde_json::from_str(data).unwrap();
                if event["event"] == "alarm" {
                    let _ = sender.send(event);
                }
            }
        });
        events
    }
}

/// Looks again and again until there is something to see.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
