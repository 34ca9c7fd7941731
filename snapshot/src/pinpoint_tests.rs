//! What is shown is what differs, by few messages; and no lie is believed.

use super::*;
use crate::fixtures::{tree, tree_of};
use ledger::state::tree::{Change, Op, PageLimits};
use std::cell::Cell;

/// A state, and how often its holder was asked.
struct Asked {
    tree: Tree,
    messages: Cell<usize>,
    /// Shows less than there is on a page.
    page: u64,
    lie: Option<Kind>,
}

/// How a holder lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A part has another hash.
    Hash,
    /// A part is said to have fewer entries.
    Entries,
    /// A part stands elsewhere.
    Prefix,
    /// A part is left out.
    LeftOut,
    /// What was asked for is given back unparted.
    Unparted,
    /// Entries are of another state.
    OtherState,
    /// There are no entries.
    NoEntries,
}

impl Asked {
    fn of(tree: &Tree) -> Self {
        Self {
            tree: tree.clone(),
            messages: Cell::new(0),
            page: 50,
            lie: None,
        }
    }

    fn claimed(&self) -> Claimed<'_, Self> {
        Claimed {
            root: self.tree.root(),
            holder: self,
        }
    }

    fn said(&self) {
        self.messages.set(self.messages.get() + 1);
    }
}

impl Holder for Asked {
    type Error = Lie;

    fn parts(&self, below: &Prefix) -> Result<Vec<Part>, Lie> {
        self.said();
        let Some(subtree) = self.tree.subtree(below) else {
            return Ok(vec![]);
        };
        let mut parts = subtree.parts(16);
        match self.lie {
            Some(Kind::Hash) => parts[0].hash.0[0] ^= 1,
            Some(Kind::Entries) if parts[0].totals.entries > 2 => parts[0].totals.entries -= 1,
            Some(Kind::Prefix) => {
                let part = parts.iter_mut().find(|part| part.totals.entries == 1);
                if let Some(part) = part {
                    let mut bits = *part.prefix.bits();
                    bits.0[31] ^= 1;
                    part.prefix = Prefix::new(bits, part.prefix.bit_count()).unwrap();
                }
            }
            Some(Kind::LeftOut) => drop(parts.pop()),
            Some(Kind::Unparted) => parts = vec![subtree.part()],
            _ => {}
        }
        Ok(parts)
    }

    fn entries(&self, range: PlaceRange) -> Result<RangeProof, Lie> {
        self.said();
        let limits = PageLimits {
            entries: self.page,
            bytes: 1 << 20,
        };
        let other;
        let tree = match self.lie {
            Some(Kind::OtherState) => {
                other = tree(77, 9);
                &other
            }
            Some(Kind::NoEntries) => &Tree::default(),
            _ => &self.tree,
        };
        Ok(tree.prove_range(range, limits))
    }

    fn lied(&self, lie: Lie) -> Lie {
        lie
    }
}

fn found(old: &Asked, new: &Asked) -> Result<Vec<Place>, Lie> {
    let mut places = Vec::new();
    pinpoint(&old.claimed(), &new.claimed(), |d| places.push(d.place))?;
    Ok(places)
}

#[test]
fn it_shows_what_differs_however_large_the_states_are() {
    for (a, b) in [
        (0, 0),
        (0, 1),
        (1, 0),
        (0, 300),
        (300, 0),
        (300, 300),
        (1, 900),
        (900, 310),
        (3_000, 3_000),
    ] {
        let (old, new) = (tree(a, 1), tree(b, 2));
        let expected: Vec<Place> = old.changes(&new).map(|d| d.place).collect();
        for page in [1, 50] {
            let (mut olds, mut news) = (Asked::of(&old), Asked::of(&new));
            (olds.page, news.page) = (page, page);
            assert_eq!(found(&olds, &news).unwrap(), expected, "{a} and {b}");
        }
    }
}

/// Two states with one record of another value.
fn nearly(count: usize, changed: usize) -> (Asked, Asked) {
    let state = |last: u8| {
        let value = |i: usize| vec![if i == changed { last } else { 1 }; 50];
        Asked::of(&tree_of(&(0..count).map(value).collect::<Vec<_>>()))
    };
    (state(1), state(2))
}

#[test]
fn messages_follow_the_difference() {
    let (old, new) = nearly(20_000, 7_777);
    assert_eq!(found(&old, &new).unwrap().len(), 1);
    let messages = (old.messages.get(), new.messages.get());
    assert!(messages.0 <= 6 && messages.1 <= 6, "{messages:?}");
    // One that is added elsewhere shifts how all else is parted.
    let mut more = old.tree.clone();
    let key = b"another";
    let op = Op::Put { key, value: key };
    let place = Place([0x5a; 32]);
    more.apply(&[Change { place, op }]).unwrap();
    let more = Asked::of(&more);
    old.messages.set(0);
    assert_eq!(found(&old, &more), Ok(vec![place]));
    let messages = (old.messages.get(), more.messages.get());
    assert!(messages.0 <= 6 && messages.1 <= 6, "{messages:?}");
    let same = Asked::of(&old.tree);
    old.messages.set(0);
    assert_eq!(found(&old, &same), Ok(vec![]));
    assert_eq!((old.messages.get(), same.messages.get()), (0, 0));
}

#[test]
fn no_lie_is_believed_from_either_side() {
    for (lie, count) in [
        (Kind::Hash, 40),
        (Kind::Hash, 5_000),
        (Kind::Entries, 5_000),
        // The only entry: of one that is the same on both sides it does not matter where it is said to be.
        (Kind::Prefix, 1),
        (Kind::LeftOut, 40),
        (Kind::LeftOut, 5_000),
        (Kind::Unparted, 5_000),
        (Kind::OtherState, 40),
        (Kind::OtherState, 5_000),
        (Kind::NoEntries, 5_000),
    ] {
        let (mut old, mut new) = nearly(count, 0);
        old.lie = Some(lie);
        assert!(found(&old, &new).is_err(), "{lie:?} {count}");
        (old.lie, new.lie) = (None, Some(lie));
        assert!(found(&old, &new).is_err(), "{lie:?} {count}");
    }
}
