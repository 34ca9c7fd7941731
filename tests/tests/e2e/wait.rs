//! Waiting for what other processes do. Nothing else here sleeps, and no test asserts how long something took.

use std::time::{Duration, Instant};

/// How long anything may take before a test gives up: long, since the machine may be busy.
const LIMIT: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(25);

/// Asks again and again until there is an answer, and fails with what was said last if there is none in time.
pub fn eventually<T>(what: &str, mut check: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        match check() {
            Ok(value) => return value,
            Err(why) if Instant::now() > deadline => {
                panic!("{what}: not within {} s: {why}", LIMIT.as_secs())
            }
            Err(_) => std::thread::sleep(POLL),
        }
    }
}
