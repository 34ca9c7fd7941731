//! Old states that somebody reads page by page: they stay until that is done, although newer ones push them out. Pure.
//!
//! # Bounds
//! [`READ_MAX`] heights, those asked for last: who lists a space asks many times a second. Each as long as it is asked for, with
//! pauses of less than [`PAUSE_MAX`], and for [`READING_MAX`] in all: what is kept costs at most the memory of what has changed since.

use ledger::units::Height;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// States that are kept for readers.
const READ_MAX: usize = 4;
/// From one page to the next.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A million records are listed in 10 to 50 seconds, as busy as the machine is.
const READING_MAX: Duration = Duration::from_secs(900);

/// States `T` that have readers.
#[derive(Debug)]
pub(super) struct Readers<T> {
    reads: BTreeMap<Height, Read>,
    kept: BTreeMap<Height, T>,
}

/// When a state was asked for.
#[derive(Clone, Copy, Debug)]
struct Read {
    first: Instant,
    last: Instant,
}

impl Read {
    fn goes_on(&self, now: Instant) -> bool {
        now.duration_since(self.last) < PAUSE_MAX && now.duration_since(self.first) < READING_MAX
    }
}

impl<T> Default for Readers<T> {
    fn default() -> Self {
        Self {
            reads: BTreeMap::new(),
            kept: BTreeMap::new(),
        }
    }
}

impl<T> Readers<T> {
    /// A page of the state of a height was asked for, and there are more.
    pub(super) fn read(&mut self, height: Height, now: Instant) {
        if self.kept.contains_key(&height) && !self.reads.contains_key(&height) {
            // Given up already, and gone with the next block: its time would begin anew.
            return;
        }
        let begun = Read {
            first: now,
            last: now,
        };
        self.reads.entry(height).or_insert(begun).last = now;
        while self.reads.len() > READ_MAX {
            let longest_ago = self.reads.iter().min_by_key(|(_, read)| read.last);
            if let Some(height) = longest_ago.map(|(height, _)| *height) {
                self.reads.remove(&height);
            }
        }
    }

    /// Takes in a state that newer ones push out; gives it back if nobody reads it.
    pub(super) fn keep(&mut self, height: Height, old: T, now: Instant) -> Option<T> {
        if self
            .reads
            .get(&height)
            .is_some_and(|read| read.goes_on(now))
        {
            self.kept.insert(height, old)
        } else {
            Some(old)
        }
    }

    /// A state that was pushed out and is still read.
    pub(super) fn get(&self, height: Height) -> Option<&T> {
        self.kept.get(&height)
    }

    /// Gives back what nobody reads any more.
    pub(super) fn let_go(&mut self, now: Instant) -> Vec<T> {
        let Self { reads, kept } = self;
        // One that has lasted for too long is forgotten together with its state: otherwise it would begin anew with the next page.
        reads.retain(|height, read| read.goes_on(now) || kept.contains_key(height));
        let over: Vec<Height> = kept
            .keys()
            .filter(|height| !reads.get(height).is_some_and(|read| read.goes_on(now)))
            .copied()
            .collect();
        over.iter()
            .filter_map(|height| {
                reads.remove(height);
                kept.remove(height)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_read_stays_while_it_is_read() {
        let begun = Instant::now();
        let mut readers = Readers::default();
        readers.read(Height(7), begun);
        assert_eq!(readers.keep(Height(6), "six", begun), Some("six"));
        assert_eq!(readers.keep(Height(7), "seven", begun + SECOND), None);
        readers.read(Height(7), begun + PAUSE_MAX - SECOND);
        assert_eq!(readers.let_go(begun + PAUSE_MAX), Vec::<&str>::new());
        assert_eq!(readers.get(Height(7)), Some(&"seven"));
        assert_eq!(readers.let_go(begun + PAUSE_MAX * 2 - SECOND), ["seven"]);
        assert_eq!(readers.get(Height(7)), None);
    }

    #[test]
    fn a_reading_has_its_end() {
        let begun = Instant::now();
        let mut readers = Readers::default();
        readers.read(Height(7), begun);
        assert_eq!(readers.keep(Height(7), "seven", begun), None);
        let mut now = begun;
        while now < begun + READING_MAX {
            assert_eq!(readers.let_go(now), Vec::<&str>::new());
            readers.read(Height(7), now);
            now += PAUSE_MAX / 2;
        }
        assert_eq!(readers.let_go(now), ["seven"]);
        assert!(readers.reads.is_empty());
    }

    #[test]
    fn those_asked_for_last_are_kept() {
        let begun = Instant::now();
        let mut readers = Readers::default();
        for height in 1..=5 {
            let now = begun + SECOND * height;
            readers.read(Height(height.into()), now);
            assert_eq!(readers.keep(Height(height.into()), height, now), None);
            readers.read(Height(1), now);
        }
        let now = begun + SECOND * 6;
        // It was given up for others, and does not begin anew.
        readers.read(Height(2), now);
        assert_eq!(readers.let_go(now), [2]);
    }
}
