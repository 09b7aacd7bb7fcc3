//! Which parts of a shared array are in use.

use super::members::GRACE;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Instant;

/// The array's parts, in use or free.
pub(super) struct Space {
    used: Vec<bool>,
    /// Parts that are needed no longer, and since when: a CPU may still be reading them.
    freed: VecDeque<(Instant, Range<usize>)>,
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
        Space { used: vec![false; parts], freed: VecDeque::new() }
    }

    /// So many parts in a row, at least one, that no CPU can still be reading; `None` if there is no room. Waits for what has just
    /// been given back only if nothing else is free.
    pub(super) fn take(&mut self, parts: usize, side: Side) -> Option<Range<usize>> {
        self.free_what_nobody_reads();
        let mut taken = self.find(parts, side);
        if let (None, Some((last, _))) = (&taken, self.freed.back()) {
            std::thread::sleep(GRACE.saturating_sub(last.elapsed()));
            self.free_what_nobody_reads();
            taken = self.find(parts, side);
        }
        self.mark(taken.as_ref()?);
        taken
    }

    /// The parts are in use, as an earlier director left them.
    pub(super) fn mark(&mut self, parts: &Range<usize>) {
        self.set(parts, true);
    }

    /// The parts are needed no longer.
    pub(super) fn give_back(&mut self, parts: &Range<usize>) {
        self.freed.push_back((Instant::now(), parts.clone()));
    }

    fn free_what_nobody_reads(&mut self) {
        while let Some((_, parts)) = self.freed.pop_front_if(|(since, _)| since.elapsed() >= GRACE) {
            self.set(&parts, false);
        }
    }

    /// The first or last place for so many parts: behind a part in use there is none that includes it.
    fn find(&self, parts: usize, side: Side) -> Option<Range<usize>> {
        match side {
            Side::Start => {
                let mut start = 0;
                loop {
                    match self.used.get(start..start + parts)?.iter().rposition(|used| *used) {
                        Some(last) => start += last + 1,
                        None => return Some(start..start + parts),
                    }
                }
            }
            Side::End => {
                let mut end = self.used.len();
                loop {
                    let start = end.checked_sub(parts)?;
                    match self.used.get(start..end)?.iter().position(|used| *used) {
                        Some(first) => end = start + first,
                        None => return Some(start..end),
                    }
                }
            }
        }
    }

    fn set(&mut self, parts: &Range<usize>, used: bool) {
        if let Some(parts) = self.used.get_mut(parts.clone()) {
            parts.fill(used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_just_given_back_is_taken_when_nobody_reads_it_any_more() {
        let mut space = Space::new(2);
        let taken = space.take(2, Side::Start).unwrap();
        let since = Instant::now();
        space.give_back(&taken);
        assert_eq!(space.take(2, Side::End), Some(0..2));
        assert!(since.elapsed() >= GRACE);
        assert_eq!(space.take(1, Side::Start), None);
    }

    #[test]
    fn places_are_found_between_others() {
        let mut space = Space::new(6);
        space.mark(&(1..2));
        space.mark(&(4..5));
        assert_eq!(space.find(2, Side::Start), Some(2..4));
        assert_eq!(space.find(2, Side::End), Some(2..4));
        assert_eq!((space.find(1, Side::Start), space.find(1, Side::End)), (Some(0..1), Some(5..6)));
        assert_eq!((space.find(3, Side::Start), space.find(3, Side::End)), (None, None));
    }
}
