//! The state that somebody has another of, kept so that there is time to find out in what they differ.
//!
//! There is one at most, for some time. Still it may cost as much memory as a whole state, once all of the newest one has changed:
//! a validator that lies about a root can make others pay that, under an alarm that names it.

use ledger::{state::State, units::Height};

/// Blocks after which it is let go.
const KEPT_BLOCKS: u64 = 10_000;

/// A state that somebody has another of.
pub(super) struct Disputed {
    state: State,
    /// Whether it is this node that the chain disagrees with.
    astray: bool,
}

impl Disputed {
    /// What this node came to where the chain has another state: of all that is disputed, what matters.
    pub(super) const fn own(state: State) -> Self {
        Self {
            state,
            astray: true,
        }
    }

    /// A state that a peer has another of. A later one counts: what was before is known, or over.
    pub(super) fn by_a_peer(before: Option<Self>, state: State) -> Self {
        let new = Self {
            state,
            astray: false,
        };
        match before {
            Some(before) if before.astray || before.state.height() >= new.state.height() => before,
            _ => new,
        }
    }

    pub(super) fn into_state(self) -> State {
        self.state
    }

    pub(super) const fn state(&self) -> &State {
        &self.state
    }

    /// Whether it has been kept for long enough, now that the chain is at `height`.
    pub(super) fn is_over(&self, height: Height) -> bool {
        height.0.saturating_sub(self.state.height().0) > KEPT_BLOCKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::voters::tests::state as some_state;

    fn state(height: u64) -> State {
        let tree = some_state(1).tree().clone();
        State::from_tree(Height(height), tree).unwrap()
    }

    #[test]
    fn the_latest_dispute_counts_unless_this_node_is_astray() {
        let kept = |before: Option<Disputed>, height| Disputed::by_a_peer(before, state(height));
        let first = kept(None, 300);
        let later = kept(Some(first), 500);
        assert_eq!(later.state().height(), Height(500));
        let earlier = kept(Some(later), 400);
        assert_eq!(earlier.state().height(), Height(500));
        let astray = Disputed::own(state(200));
        assert_eq!(kept(Some(astray), 600).state().height(), Height(200));
        assert!(!earlier.is_over(Height(10_500)) && earlier.is_over(Height(10_501)));
    }
}
