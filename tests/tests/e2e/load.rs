//! Clients that send all the time, one process a transaction, and remember what they were told is final.

use crate::{
    net::{Acknowledged, Net},
    program::{Program, with_json},
    wait::eventually,
};
use serde_json::Value;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

/// Clients under way: one an account, each through a node of its own, and through the next when that fails.
pub struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts it.
    pub fn on(net: &Net) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let clients = ["alice", "bob", "carol", "dave"]
            .into_iter()
            .enumerate()
            .map(|(index, account)| {
                let (program, stop) = (net.program().clone(), Arc::clone(&stop));
                let told = Arc::clone(&acknowledged);
                let mut node = index;
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        match send(&program, account, &format!("node{node}")) {
                            Some(one) => told.lock().unwrap().push(one),
                            None => node = (node + 1) % 4,
                        }
                    }
                })
            });
        let clients = clients.collect();
        Self {
            stop,
            acknowledged,
            clients,
        }
    }

    /// How many are final.
    pub fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Waits until so many more are final.
    pub fn wait_for(&self, more: usize) {
        let goal = self.count() + more;
        eventually(&format!("{goal} transactions are final"), || {
            let count = self.count();
            (count >= goal)
                .then_some(())
                .ok_or_else(|| format!("{count} are"))
        });
    }

    /// Ends it, and gives what is final.
    pub fn finish(self) -> Vec<Acknowledged> {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        self.acknowledged.lock().unwrap().clone()
    }
}

/// Sends one, and gives what it was told, if that was that it is final. A node that died says nothing, or breaks off.
fn send(program: &Program, account: &str, node: &str) -> Option<Acknowledged> {
    let words = with_json(&[
        "tx",
        "transfer",
        account,
        "alice",
        "1",
        "--node",
        node,
        "--timeout",
        "5",
    ]);
    let ran = program.run(&words);
    let document: Value = serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {ran:?}"));
    (ran.code == Some(0)).then(|| Acknowledged::of(&document))
}
