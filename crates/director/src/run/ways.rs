//! The ways to destinations, as the tracker tells them.

use super::Director;
use crate::egress::{self, Event, InterfaceEvent};
use crate::registry::Watch;
use std::time::{Duration, Instant};

/// How long a command that adds a destination waits for the way to it: an ARP or ND exchange on a local network.
const SETTLE: Duration = Duration::from_millis(30);

/// How long commands wait in a row, all together, and what part of the time after that: thousands of servers of which none
/// answers are not to take thousands of moments.
const SETTLE_IN_A_ROW: Duration = Duration::from_millis(300);
/// See [`SETTLE_IN_A_ROW`].
const SETTLE_SHARE: u32 = 4;

/// How long commands may still wait for ways.
pub(super) struct Patience {
    left: Duration,
    since: Instant,
}

impl Patience {
    /// All of it.
    pub(super) fn new(now: Instant) -> Patience {
        Patience { left: SETTLE_IN_A_ROW, since: now }
    }

    /// For how long a command may wait now.
    fn at(&mut self, now: Instant) -> Duration {
        let regained = now.duration_since(self.since) / SETTLE_SHARE;
        *self = Patience { left: (self.left + regained).min(SETTLE_IN_A_ROW), since: now };
        self.left.min(SETTLE)
    }

    /// A command has waited until now.
    fn end(&mut self, now: Instant) {
        self.left = self.left.saturating_sub(now.duration_since(self.since));
        self.since = now;
    }
}

impl Director {
    pub(super) fn follow(&mut self, event: Event) {
        if let (Event::Interface(event), Some(local_out)) = (&event, &mut self.local_out) {
            local_out.notice(event);
        }
        match event {
            Event::Path { destination, path } => {
                tracing::debug!("{destination}: {path:?}");
                self.registry.set_path(destination, &path);
                if path != egress::Path::Unresolved {
                    self.unsettled.remove(&destination);
                }
            }
            Event::Generation => {
                let generation = &self.tables.settings().generation;
                generation.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
            Event::Interface(InterfaceEvent::Appeared(interface)) => {
                let _told = self.appeared(interface);
                self.follow_local_out();
            }
            Event::Interface(InterfaceEvent::Changed(interface)) => {
                self.interfaces.insert(interface.index, interface);
                self.tell_interfaces();
            }
            Event::Interface(InterfaceEvent::Gone(interface)) => {
                tracing::info!("interface {} is gone", interface.name);
                self.attachments.detach(interface.index);
                self.interfaces.remove(&interface.index);
                self.tell_interfaces();
            }
        }
    }

    pub(super) fn tell_tracker(&mut self) {
        for change in self.registry.take_changes() {
            match change {
                Watch::Begin(address) => {
                    self.unsettled.insert(address);
                    self.tracker.watch(address);
                }
                Watch::End(address) => {
                    self.unsettled.remove(&address);
                    self.tracker.unwatch(address);
                }
            }
        }
    }

    /// Waits a moment for the way to destinations just added, so that whoever added one can send to it. A server that
    /// does not answer delays the command by that moment, no more; many in a row by a [share](SETTLE_SHARE) of the time.
    pub(super) async fn settle(&mut self) {
        if self.unsettled.is_empty() {
            return;
        }
        let patience = tokio::time::sleep(self.patience.at(Instant::now()));
        tokio::pin!(patience);
        while !self.unsettled.is_empty() {
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.follow(event),
                    None => break,
                },
                () = &mut patience => break,
            }
        }
        self.unsettled.clear();
        self.patience.end(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_servers_that_do_not_answer_take_a_share_of_the_time() {
        let start = Instant::now();
        let (mut now, mut waited) = (start, Duration::ZERO);
        let mut patience = Patience::new(start);
        for _ in 0..4096 {
            let moment = patience.at(now);
            now += moment;
            patience.end(now);
            waited += moment;
            now += Duration::from_micros(100);
        }
        assert_eq!(Patience::new(start).at(start), SETTLE);
        assert!(waited >= SETTLE_IN_A_ROW && waited <= SETTLE_IN_A_ROW + (now - start) / SETTLE_SHARE);
        assert_eq!(patience.at(now + SETTLE_SHARE * SETTLE), SETTLE);
    }
}
