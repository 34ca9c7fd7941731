//! Threads whose work can wait: they let those go first that commit blocks.

use thread_priority::{
    Error, NormalThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// A niceness of 5, in the library's scale from 0 to 99: a third of the weight of an ordinary thread where cores are short, and a
/// whole idle core where there is one.
const PRIORITY: u8 = 34;

/// Puts the calling thread behind the others.
///
/// Waking it never interrupts who wakes it (`SCHED_BATCH` of sched(7)): otherwise, with few cores, handing over a picture of the
/// state would now and then cost a whole time slice of some milliseconds instead of microseconds.
pub(super) fn step_back() {
    if let Err(error) = try_step_back() {
        tracing::debug!(?error, "a background thread keeps its ordinary priority");
    }
}

fn try_step_back() -> Result<(), Error> {
    let priority = ThreadPriorityValue::try_from(PRIORITY)
        .map_err(|_| Error::Priority("it is out of the scale"))?;
    set_thread_priority_and_policy(
        thread_native_id(),
        ThreadPriority::Crossplatform(priority),
        ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_steps_back_alone() {
        let policy_and_niceness = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("proc(5)");
            // Behind the name, which may have spaces: the fields from the third on.
            let fields: Vec<&str> = stat
                .rsplit(')')
                .next()
                .expect("fields")
                .split_whitespace()
                .collect();
            (fields[38].to_owned(), fields[16].to_owned())
        };
        let before = policy_and_niceness();
        let stepped_back = std::thread::spawn(move || {
            try_step_back().expect("no right is needed for it");
            policy_and_niceness()
        });
        let batch = "3".to_owned();
        assert_eq!(stepped_back.join().expect("ends"), (batch, "5".to_owned()));
        assert_eq!(policy_and_niceness(), before);
    }
}
