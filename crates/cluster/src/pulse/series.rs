//! When neighbours are told again who has an address: often at first, then ever more rarely.
//!
//! One announcement may be lost: a switch does not forward yet by a port whose link has just come up, and a former master may
//! announce itself once more while it learns that it is none. Whoever missed it sends packets to the wrong machine until the
//! next one comes.

use std::time::Duration;

use crate::config::Announce;

/// From one announcement to the first repetition; each next one is twice as long in coming.
const FIRST: Duration = Duration::from_millis(25);

/// The announcements to come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Series {
    next: Option<Duration>,
    pause: Duration,
    /// When the ever rarer repetitions are over.
    end: Duration,
    last: Option<Duration>,
}

impl Series {
    /// There is something to announce, `now` and again until [`Announce::again`] has passed: how often at once. 0 if it was said a
    /// moment ago, and will be again in a moment.
    pub(super) fn begin(&mut self, now: Duration, rules: &Announce) -> u32 {
        let just_said = self.last.is_some_and(|last| now < last + FIRST);
        self.pause = FIRST;
        self.end = now + rules.again;
        self.next = match rules.again.is_zero() {
            true => (!rules.refresh.is_zero()).then(|| now + rules.refresh),
            false => Some(now + FIRST.min(rules.again)),
        };
        if just_said {
            return 0;
        }
        self.last = Some(now);
        rules.repeat
    }

    /// There is nothing to announce any more.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }

    /// When the next announcement is due.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.next
    }

    /// How often to announce `now`; 0 if none is due.
    pub(super) fn due(&mut self, now: Duration, rules: &Announce) -> u32 {
        if self.next.is_none_or(|next| now < next) {
            return 0;
        }
        self.last = Some(now);
        if now >= self.end {
            self.next = (!rules.refresh.is_zero()).then(|| now + rules.refresh);
            return rules.repeat;
        }
        self.pause *= 2;
        self.next = Some((now + self.pause).min(self.end));
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The times in milliseconds and the numbers of all announcements up to `end`.
    fn announcements(series: &mut Series, rules: &Announce, end: Duration) -> Vec<(u128, u32)> {
        let mut all = Vec::new();
        while let Some(now) = series.deadline().filter(|now| *now <= end) {
            all.push((now.as_millis(), series.due(now, rules)));
        }
        all
    }

    #[test]
    fn they_become_rarer() {
        let rules = Announce { repeat: 5, again: SECOND, refresh: 10 * SECOND };
        let mut series = Series::default();
        assert_eq!(series.begin(Duration::ZERO, &rules), 5);
        let all = announcements(&mut series, &rules, 15 * SECOND);
        assert_eq!(all, [(25, 1), (75, 1), (175, 1), (375, 1), (775, 1), (1000, 5), (11_000, 5)]);
        series.end();
        assert_eq!(series.deadline(), None);
    }

    #[test]
    fn whoever_must_say_it_all_the_time_does_not_flood() {
        let rules = Announce { repeat: 5, again: SECOND, refresh: Duration::ZERO };
        let mut series = Series::default();
        let at = Duration::from_millis;
        assert_eq!(series.begin(at(0), &rules), 5);
        assert_eq!(series.begin(at(10), &rules), 0);
        assert_eq!((series.due(at(20), &rules), series.due(at(35), &rules)), (0, 1));
        assert_eq!(series.begin(at(70), &rules), 5);
    }

    #[test]
    fn only_once_if_the_file_says_so() {
        let rules = Announce { repeat: 2, again: Duration::ZERO, refresh: Duration::ZERO };
        let mut series = Series::default();
        assert_eq!((series.begin(SECOND, &rules), series.deadline()), (2, None));
    }
}
