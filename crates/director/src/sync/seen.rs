//! The masters that a backup has heard of.

use rlvs_ipvs::sync::Note;
use std::collections::HashMap;
use std::net::SocketAddr;

/// Senders that are told apart at a time.
const SENDERS: usize = 256;

/// What came from whom.
#[derive(Debug, Default)]
pub(super) struct Masters {
    /// A master has a sender for each of its ports.
    senders: HashMap<SocketAddr, Sender>,
    /// By their numbers, those of this kind: connections that they had when they had told of all.
    masters: HashMap<u64, Option<u64>>,
}

#[derive(Debug, Default)]
struct Sender {
    /// Messages that came from it.
    messages: u64,
    /// Its master's number, if that is a director of this kind.
    master: Option<u64>,
    /// What it had sent, less what had come, when it was first heard of.
    before: u64,
    lost: u64,
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
        if let Some(sender) = self.sender(from) {
            sender.messages += 1;
        }
    }

    /// A note came.
    pub(super) fn note(&mut self, from: SocketAddr, note: Note) -> News {
        match note {
            Note::Ask => News::Nothing,
            Note::Whole { master, connections } => {
                if let Some(whole) = self.masters.get_mut(&master) {
                    *whole = Some(connections);
                }
                News::Nothing
            }
            Note::Alive { master, messages } => self.alive(from, master, messages),
        }
    }

    fn alive(&mut self, from: SocketAddr, master: u64, messages: u64) -> News {
        let Some(sender) = self.sender(from) else { return News::Nothing };
        if sender.master != Some(master) {
            let before = messages.wrapping_sub(sender.messages);
            let former = std::mem::replace(
                sender,
                Sender { master: Some(master), before, messages: sender.messages, lost: 0 },
            );
            if let Some(former) = former.master {
                self.masters.remove(&former);
            }
            let is_new = !self.masters.contains_key(&master);
            self.masters.entry(master).or_default();
            return if is_new { News::Gap } else { News::Nothing };
        }
        let lost = messages.wrapping_sub(sender.before).saturating_sub(sender.messages);
        let more = lost > sender.lost;
        sender.lost = lost.max(sender.lost);
        if !more {
            return News::Nothing;
        }
        self.masters.insert(master, None);
        News::Gap
    }

    /// Whether all that the masters have told of is known; `None` if none of this kind was heard.
    pub(super) fn in_sync(&self) -> Option<bool> {
        (!self.masters.is_empty()).then(|| self.whole().is_some())
    }

    /// Messages that were sent but did not come.
    pub(super) fn lost(&self) -> u64 {
        self.senders.values().map(|sender| sender.lost).sum()
    }

    /// Connections of the masters, if all have told of all; `None` if there is none of this kind, or one has not yet.
    pub(super) fn whole(&self) -> Option<u64> {
        let mut all = self.masters.values();
        let first = (*all.next()?)?;
        all.try_fold(first, |sum, whole| Some(sum + (*whole)?))
    }

    fn sender(&mut self, from: SocketAddr) -> Option<&mut Sender> {
        if self.senders.len() >= SENDERS && !self.senders.contains_key(&from) {
            return None;
        }
        Some(self.senders.entry(from).or_default())
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
        masters.note(from, Note::Whole { master: 7, connections: 5 });
        assert_eq!((masters.whole(), masters.in_sync()), (Some(5), Some(true)));
        assert_eq!((masters.note(from, alive(108)), masters.lost()), (News::Gap, 3));
        assert_eq!((masters.whole(), masters.in_sync()), (None, Some(false)));
        assert_eq!((masters.note(from, alive(108)), masters.lost()), (News::Nothing, 3));
        masters.note(from, Note::Whole { master: 7, connections: 9 });
        assert_eq!((masters.whole(), masters.in_sync()), (Some(9), Some(true)));
        // Another one in its place.
        assert_eq!(masters.note(from, Note::Alive { master: 8, messages: 0 }), News::Gap);
        assert_eq!((masters.whole(), masters.lost()), (None, 0));
    }

    #[test]
    fn a_master_s_ports_are_one_master() {
        let [one, two] = ["192.0.2.1:4000", "192.0.2.1:4001"].map(|from| from.parse().unwrap());
        let mut masters = Masters::default();
        assert_eq!([one, two].map(|from| masters.note(from, alive(0))), [News::Gap, News::Nothing]);
        masters.message(one);
        assert_eq!([(one, 1), (two, 0)].map(|(from, n)| masters.note(from, alive(n))), [News::Nothing; 2]);
        masters.note(one, Note::Whole { master: 7, connections: 9 });
        assert_eq!((masters.whole(), masters.lost()), (Some(9), 0));
        assert_eq!(masters.note(two, alive(1)), News::Gap);
    }

    #[test]
    fn masters_of_another_kind_send_no_notes() {
        let mut masters = Masters::default();
        masters.message("192.0.2.1:4000".parse().unwrap());
        assert_eq!((masters.whole(), masters.in_sync(), masters.lost()), (None, None, 0));
    }
}
