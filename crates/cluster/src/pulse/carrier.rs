//! Interfaces that lose their carrier, perhaps only for a moment.

use std::collections::HashMap;
use std::time::Duration;

/// The interfaces that a virtual router depends on, by their names. Times are of one clock that does not go back.
#[derive(Debug, Default)]
pub(super) struct Carriers(HashMap<String, Carrier>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carrier {
    Up,
    /// Lost, and until when it is taken for up all the same.
    Lost(Duration),
    Down,
    /// Back again, and until when it is not trusted all the same.
    Back(Duration),
}

/// The switch at the other end may take so long to forward what comes by a link that is up again. Who believes the link sooner hears no
/// master, takes over, and tells nobody.
const SETTLE: Duration = Duration::from_secs(1);

impl Carriers {
    /// Takes how an interface is now. One that was up is put up with for as long as `patience`.
    pub(super) fn note(&mut self, name: &str, running: bool, patience: Duration, now: Duration) {
        let carrier = match (running, self.0.get(name)) {
            (true, Some(Carrier::Down)) => Carrier::Back(now + SETTLE),
            (true, Some(Carrier::Back(until))) if now < *until => return,
            (true, _) => Carrier::Up,
            _ if patience.is_zero() => Carrier::Down,
            (false, Some(Carrier::Up)) => Carrier::Lost(now + patience),
            (false, Some(Carrier::Lost(until))) if now < *until => return,
            (false, _) => Carrier::Down,
        };
        self.0.insert(name.to_owned(), carrier);
    }

    /// Whether an interface is to be taken for down; of one that nobody has noted, it is.
    pub(super) fn is_down(&self, name: &str) -> bool {
        matches!(self.0.get(name), Some(Carrier::Down | Carrier::Back(_)) | None)
    }

    /// When the next one must be looked at again.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let until = |carrier: &Carrier| match carrier {
            Carrier::Lost(until) | Carrier::Back(until) => Some(*until),
            Carrier::Up | Carrier::Down => None,
        };
        self.0.values().filter_map(until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_loss_is_none() {
        let at = Duration::from_millis;
        let mut carriers = Carriers::default();
        let mut note = |running, now| {
            carriers.note("eth0", running, at(500), at(now));
            (carriers.is_down("eth0"), carriers.deadline())
        };
        assert_eq!(note(false, 0), (true, None), "it never was up");
        assert_eq!(note(true, 10), (true, Some(at(1_010))), "it has just come up");
        assert_eq!(note(true, 900), (true, Some(at(1_010))));
        assert_eq!(note(true, 1_010), (false, None));
        assert_eq!(note(false, 1_050), (false, Some(at(1_550))));
        assert_eq!(note(false, 1_300), (false, Some(at(1_550))));
        assert_eq!(note(true, 1_400), (false, None));
        assert_eq!(note(false, 2_000), (false, Some(at(2_500))));
        assert_eq!(note(false, 2_500), (true, None));
        assert_eq!(note(false, 9_000), (true, None));
        assert_eq!(note(true, 9_100), (true, Some(at(10_100))));
        assert_eq!(note(false, 9_200), (true, None));
    }

    #[test]
    fn without_patience_it_is_down_at_once() {
        let (none, some) = (Duration::ZERO, Duration::from_secs(1));
        let mut carriers = Carriers::default();
        carriers.note("eth0", true, none, none);
        carriers.note("eth0", false, none, none);
        assert!(carriers.is_down("eth0"));
        // Patience that ends while the carrier is lost.
        carriers.note("eth0", true, some, none);
        carriers.note("eth0", true, some, SETTLE);
        carriers.note("eth0", false, some, none);
        assert!(!carriers.is_down("eth0"));
        carriers.note("eth0", false, none, none);
        assert!(carriers.is_down("eth0"));
    }
}
