//! A node whose state has gone astray, among three that are right: four real nodes on loopback, in one process, of which
//! one is started with a state that a memory fault might have left. It must find out at the first block, say so and
//! stop voting; the others must go on, and say who differs, and where.

use ledger::{
    codec,
    genesis::{Genesis, GenesisAccount, GenesisValidator, PROTOCOL_VERSION, Parameters},
    hash::Address,
    keys::PublicKey,
    state::{
        State,
        entries::{Account, Entry},
        tree::{Change, Op},
    },
    units::{Amount, Power, TimestampMs},
};
use node::{
    config::{Config, NodeDir},
    runtime::{self, Recovered},
};
use serde_json::Value;
use std::{
    io::BufRead,
    net::TcpListener,
    time::{Duration, Instant},
};
use tokio::{runtime::Runtime, sync::watch};

const NODES: usize = 4;
/// Long enough for any machine; a failure shows what was seen instead.
const LIMIT: Duration = Duration::from_secs(60);
const ALICE: Address = Address([0xA1; 32]);

/// Ports that were free a moment ago.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let port = |l: &TcpListener| l.local_addr().unwrap().port();
    listeners.iter().map(port).collect()
}

/// Four folders with one genesis, each node knowing where the others listen.
fn folders(root: &std::path::Path) -> (Vec<NodeDir>, Vec<PublicKey>) {
    let dirs: Vec<NodeDir> = (0..NODES)
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
        parameters: Parameters::default(),
        validators: validators.collect(),
        accounts: vec![GenesisAccount {
            name: "alice".into(),
            address: ALICE,
            balance: Amount(1_000),
        }],
    };
    let ports = free_ports(NODES);
    let address = |port: &u16| format!("/ip4/127.0.0.1/tcp/{port}");
    for (i, dir) in dirs.iter().enumerate() {
        let mut config = Config::named(format!("node{i}"));
        config.p2p.listen = vec![address(&ports[i])];
        config.p2p.peers = ports.iter().map(address).collect();
        config.p2p.peers.remove(i);
        config.timing.idle_block_interval_ms = 50;
        dir.write_config(&config).unwrap();
        let text = serde_json::to_vec(&genesis).unwrap();
        std::fs::write(dir.genesis_file(), text).unwrap();
    }
    (dirs, keys)
}

/// The state with one more coin in alice's account than there is.
fn spoil(recovered: &mut Recovered) {
    let state = &recovered.start.state;
    let account = Account {
        balance: Amount(1_001),
        ..state.account(&ALICE).unwrap()
    };
    let key = Account::key(&ALICE);
    let (key_bytes, value) = (key.encode(), codec::encode(&account));
    let mut tree = state.tree().clone();
    tree.apply(&[Change {
        place: key.place(),
        op: Op::Put {
            key: &key_bytes,
            value: &value,
        },
    }])
    .unwrap();
    recovered.start.state = State::from_tree(state.height(), tree).unwrap();
}

struct Net {
    runtime: Runtime,
    stop: watch::Sender<bool>,
    urls: Vec<String>,
}

impl Net {
    fn start(dirs: &[NodeDir], spoilt: usize) -> Self {
        let runtime = Runtime::new().unwrap();
        let (stop, stopping) = watch::channel(false);
        for (i, dir) in dirs.iter().enumerate() {
            let mut recovered = runtime::recover(dir.clone()).unwrap();
            if i == spoilt {
                spoil(&mut recovered);
            }
            let mut stopping = stopping.clone();
            let until = async move {
                let _ = stopping.wait_for(|stop| *stop).await;
            };
            runtime.spawn(runtime::serve(recovered, until));
        }
        let urls = dirs
            .iter()
            .map(|dir| wait_for("its address", || dir.run_info().map(|info| info.http)))
            .collect();
        Self {
            runtime,
            stop,
            urls,
        }
    }

    fn text(&self, node: usize, path: &str) -> Option<String> {
        let url = format!("{}{path}", self.urls[node]);
        ureq::get(url).call().ok()?.body_mut().read_to_string().ok()
    }

    fn status(&self, node: usize) -> Option<Value> {
        serde_json::from_str(&self.text(node, "/v1/status")?).ok()
    }

    /// The first alarm that a node tells those who listen, from now on.
    fn alarm_event(&self, node: usize) -> std::sync::mpsc::Receiver<Value> {
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

impl Drop for Net {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        let everyone_stopped = async {
            self.stop.closed().await;
        };
        let _ = self
            .runtime
            .block_on(async { tokio::time::timeout(LIMIT, everyone_stopped).await });
    }
}

/// Looks again and again until there is something to see.
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_spoilt_state_is_found_at_the_first_block_and_everyone_says_who_and_where() {
    let folder = tempfile::tempdir().unwrap();
    let (dirs, keys) = folders(folder.path());
    let spoilt = 3;
    let net = Net::start(&dirs, spoilt);
    let events = net.alarm_event(0);

    let status = wait_for("the alarm of the spoilt node", || {
        net.status(spoilt).filter(|s| !s["alarm"].is_null())
    });
    assert_eq!(status["height"], 0, "it goes no further: {status}");
    assert_eq!(status["ready"], false, "{status}");

    let event = events.recv_timeout(LIMIT).unwrap();
    assert_eq!(event["alarm"], "peer_differs", "{event}");
    assert_eq!(event["subject"], keys[spoilt].to_string(), "{event}");
    assert_eq!(event["height"], 1, "{event}");
    assert_ne!(event["here"], event["theirs"], "{event}");
    for node in 0..NODES {
        wait_for("an alarm in the metrics", || {
            net.text(node, "/metrics")?
                .contains("tintype_alarms_total 1\n")
                .then_some(())
        });
    }

    let height = |node| net.status(node).and_then(|s| s["height"].as_u64());
    wait_for("the others to go on", || {
        (0..spoilt)
            .all(|node| height(node) >= Some(5))
            .then_some(())
    });
    assert_eq!(height(spoilt), Some(0));
}
