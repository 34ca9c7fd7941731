//! Threads whose work can wait: they let those go first that commit blocks.

/// Puts the calling thread behind others, by so much niceness (sched(7)) on top of what the process has.
pub(super) fn step_back(niceness: i32) {
    // On Linux a thread's own; refused, it only costs others some time.
    let _ = rustix::process::nice(niceness);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::getpriority_process;

    #[test]
    fn a_thread_steps_back_alone() {
        let own = || getpriority_process(None).unwrap();
        let before = own();
        let stepped_back = std::thread::spawn(move || {
            step_back(3);
            own()
        });
        let expected = (before + 3).min(19);
        assert_eq!(stepped_back.join().unwrap(), expected);
        assert_eq!(own(), before);
    }
}
