//! The masters that a backup has heard of.

use rlvs_ipvs::sync::Note;
use std::collections::HashMap;
use std::net::SocketAddr;

/// Senders that are told apart at a time.
const SENDERS: usize = 64;

/// What came from whom.
#[derive(Debug, Default)]
pub(super) struct Masters(HashMap<SocketAddr, Master>);

#[derive(Debug, Default)]
struct Master {
    /// Messages that came from it.
    messages: u64,
    /// Its number, if it is a director of this kind.
    number: Option<u64>,
    /// What it had sent, less what had come, when it was first heard of.
    before: u64,
    lost: u64,
    /// Connections that it had when it had told of all.
    whole: Option<u64>,
}

/// What follows from a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// There is nothing to do.
    Nothing,
    /// This master was not known, or some of its messages were lost: it is to be asked for all of its connections.
    Gap,
}

impl Masters {
    /// A message came.
    pub(super) fn message(&mut self, from: SocketAddr) {
        if let Some(master) = self.of(from) {
            master.messages += 1;
        }
    }

    /// A note came.
    pub(super) fn note(&mut self, from: SocketAddr, note: Note) -> News {
        let Some(master) = self.of(from) else { return News::Nothing };
        match note {
            Note::Ask => News::Nothing,
            Note::Whole { connections, .. } => {
                master.whole = Some(connections);
                News::Nothing
            }
            Note::Alive { master: number, messages } => {
                if master.number != Some(number) {
                    let before = messages.wrapping_sub(master.messages);
                    *master = Master {
                        number: Some(number),
                        before,
                        messages: master.messages,
                        ..Master::default()
                    };
                    return News::Gap;
                }
                let lost = messages.wrapping_sub(master.before).wrapping_sub(master.messages);
                // Other ports' messages may come after this note.
                let lost = if lost > messages { 0 } else { lost };
                let more = lost > master.lost;
                master.lost = master.lost.max(lost);
                if more { News::Gap } else { News::Nothing }
            }
        }
    }

    /// Messages that were sent but did not come.
    pub(super) fn lost(&self) -> u64 {
        self.0.values().map(|master| master.lost).sum()
    }

    /// Connections of the masters that have told of all; `None` if there is none of this kind, or one has not yet.
    pub(super) fn whole(&self) -> Option<u64> {
        let mut known = self.0.values().filter(|master| master.number.is_some()).map(|master| master.whole);
        let first = known.next()??;
        known.try_fold(first, |sum, whole| Some(sum + whole?))
    }

    fn of(&mut self, from: SocketAddr) -> Option<&mut Master> {
        if self.0.len() >= SENDERS && !self.0.contains_key(&from) {
            return None;
        }
        Some(self.0.entry(from).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alive(messages: u64) -> Note {
        Note::Alive { master: 7, messages }
    }

    #[test]
    fn what_was_lost_is_known_and_asked_for_once() {
        let from = "192.0.2.1:4000".parse().unwrap();
        let mut masters = Masters::default();
        assert_eq!(masters.note(from, alive(100)), News::Gap, "it is new");
        assert_eq!(masters.whole(), None);
        for _ in 0..5 {
            masters.message(from);
        }
        assert_eq!((masters.note(from, alive(105)), masters.lost()), (News::Nothing, 0));
        assert_eq!((masters.note(from, alive(108)), masters.lost()), (News::Gap, 3));
        assert_eq!((masters.note(from, alive(108)), masters.lost()), (News::Nothing, 3));
        masters.note(from, Note::Whole { master: 7, connections: 9 });
        assert_eq!(masters.whole(), Some(9));
        // Another one in its place.
        assert_eq!(masters.note(from, Note::Alive { master: 8, messages: 0 }), News::Gap);
        assert_eq!((masters.whole(), masters.lost()), (None, 0));
    }

    #[test]
    fn masters_of_another_kind_send_no_notes() {
        let mut masters = Masters::default();
        masters.message("192.0.2.1:4000".parse().unwrap());
        assert_eq!((masters.whole(), masters.lost()), (None, 0));
    }
}
