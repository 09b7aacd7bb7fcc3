//! Which parts of a shared array are in use.

use super::members::GRACE;
use std::ops::Range;
use std::time::Instant;

/// The array's parts, in use or free.
pub(super) struct Space {
    used: Vec<bool>,
    freed: Option<Instant>,
}

/// Where in the array room is looked for first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Start,
    End,
}

impl Space {
    /// So many parts, all free.
    pub(super) fn new(parts: usize) -> Space {
        Space { used: vec![false; parts], freed: None }
    }

    /// So many parts in a row, at least one; `None` if there is no room. Waits until no CPU can still be reading what was there.
    pub(super) fn take(&mut self, parts: usize, side: Side) -> Option<Range<usize>> {
        let is_free = |parts: &[bool]| !parts.contains(&true);
        let mut places = self.used.windows(parts);
        let place = match side {
            Side::Start => places.position(is_free),
            Side::End => places.rposition(is_free),
        }?;
        let taken = place..place + parts;
        self.mark(&taken);
        if let Some(rest) = self.freed.and_then(|freed| GRACE.checked_sub(freed.elapsed())) {
            std::thread::sleep(rest);
        }
        Some(taken)
    }

    /// The parts are in use, as an earlier director left them.
    pub(super) fn mark(&mut self, parts: &Range<usize>) {
        self.set(parts, true);
    }

    /// The parts are needed no longer.
    pub(super) fn give_back(&mut self, parts: &Range<usize>) {
        self.set(parts, false);
        self.freed = Some(Instant::now());
    }

    fn set(&mut self, parts: &Range<usize>, used: bool) {
        if let Some(parts) = self.used.get_mut(parts.clone()) {
            parts.fill(used);
        }
    }
}
