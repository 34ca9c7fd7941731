//! How measurements are taken and told: a line a measurement for people, and the same as JSON for programs.

use crate::out::append;
use std::time::{Duration, Instant};

/// A number from the environment.
pub fn size(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Time and processor time of steps, in rounds that all take the same steps.
///
/// On a machine that does other things too, even the median says more of those than of what is measured. So each step is also
/// taken at the fastest of its rounds: what that gives is called *quiet*.
#[derive(Default)]
pub struct Rounds {
    /// Of each step, what it took in each round.
    steps: Vec<Vec<(Duration, Duration)>>,
    next: usize,
}

impl Rounds {
    /// The next measurement is of the first step.
    pub fn restart(&mut self) {
        self.next = 0;
    }

    /// Measures a step.
    pub fn measure<T>(&mut self, step: impl FnOnce() -> T) -> T {
        let (started, cpu) = (Instant::now(), cpu_time());
        let result = step();
        let took = (started.elapsed(), cpu_time().saturating_sub(cpu));
        if self.steps.len() <= self.next {
            self.steps.push(Vec::new());
        }
        self.steps[self.next].push(took);
        self.next += 1;
        result
    }

    /// Tells what so many things a step cost. Returns how many a second, in the median of all steps.
    pub fn report(&self, bench: &str, entries: u64, case: &str, things: (&str, u64)) -> f64 {
        let (name, each) = things;
        let mut times: Vec<Duration> = self.steps.iter().flatten().map(|took| took.0).collect();
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        let fastest = self
            .steps
            .iter()
            .filter_map(|rounds| rounds.iter().map(|took| took.0).min());
        let quiet = fastest.sum::<Duration>().as_secs_f64() / self.steps.len() as f64;
        let cpu: Duration = self.steps.iter().flatten().map(|took| took.1).sum();
        let per_second = each as f64 / median.as_secs_f64();
        let quiet_per_second = each as f64 / quiet;
        let cpu_ns = cpu.as_secs_f64() * 1e9 / (each as f64 * times.len() as f64);
        println!(
            "{bench:>8} {entries:>10} entries  {case:<8} {:>10.1} k {name}/s, quiet {:>10.1} k, {cpu_ns:>7.0} ns of a core each",
            per_second / 1e3,
            quiet_per_second / 1e3,
        );
        append(&format!(
            r#"{{"bench":"{bench}","entries":{entries},"case":"{case}","{name}_per_step":{each},"steps":{},"{name}_per_second":{per_second:.0},"quiet_{name}_per_second":{quiet_per_second:.0},"cpu_ns_each":{cpu_ns:.0}}}"#,
            times.len()
        ));
        per_second
    }
}

/// Tells one number.
pub fn number(bench: &str, entries: u64, case: &str, name: &str, value: f64) {
    println!("{bench:>8} {entries:>10} entries  {case:<8} {value:>10.1} {name}");
    append(&format!(
        r#"{{"bench":"{bench}","entries":{entries},"case":"{case}","{name}":{value:.2}}}"#
    ));
}

/// Processor time of all threads, where the system tells it: on a machine that does other things too, it is what can still be
/// compared.
fn cpu_time() -> Duration {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return Duration::ZERO;
    };
    let nanoseconds = tasks.flatten().filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// Bytes of memory that the process occupies, where the system tells it.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse().ok());
    kibibytes.map_or(0, |kibibytes: u64| kibibytes * 1024)
}
