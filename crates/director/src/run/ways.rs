//! The ways to destinations, as the tracker tells them.

use super::Director;
use crate::egress::{self, Event, InterfaceEvent};
use crate::registry::Watch;
use std::time::Duration;

/// How long a command that adds a destination waits for the way to it: an ARP or ND exchange on a local network.
const SETTLE: Duration = Duration::from_millis(30);

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
    /// does not answer delays the command by that moment, no more.
    pub(super) async fn settle(&mut self) {
        let patience = tokio::time::sleep(SETTLE);
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
    }
}
