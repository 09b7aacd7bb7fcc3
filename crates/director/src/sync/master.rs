//! The master: tells others of this director's connections.

use super::due::{Due, Occasion, SEEN, is_due, note};
use super::entry;
use super::socket::{Receiver, Sender, receivers, senders};
use super::young::{Flow, Young};
use super::{Datagram, fact};
use crate::connections::{Address, last_expiry};
use crate::tables::Tables;
use rlvs_ipvs::sync::{Note, Version, Writer};
use rlvs_ipvs::{Daemon, Fact};
use rlvs_switch::config::{Config, Tick};
use rlvs_switch::order;
use rlvs_switch::sync::Change;
use rlvs_switch::table::{Meta, Slot, V4, V6, WAYS, slot};
use rustix::rand::{GetRandomFlags, getrandom};
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Calls of [`Master::tick`] that walk once through the tables: two seconds.
const PARTS: usize = 200;

/// Messages that a part of the walk may leave to be sent: those of a whole table come at some ten megabytes a second.
const MESSAGES_PER_PART: usize = 64;

/// How often a [`Note::Alive`] is sent.
const ALIVE: Duration = Duration::from_secs(1);

/// The master daemon at work.
pub(super) struct Master {
    daemon: Daemon,
    senders: Vec<Sender>,
    _receivers: Vec<Receiver>,
    version: Version,
    /// By port, as the senders.
    writers: Vec<Writer>,
    outbox: VecDeque<(usize, Vec<u8>)>,
    /// Messages sent, by port.
    sent: Vec<u64>,
    /// Drawn when it started.
    number: u64,
    /// Where the walk goes on: a slot of the IPv4 table, or behind those one of the other.
    next: usize,
    /// All connections are being told of.
    whole: Option<Whole>,
    young: Young,
    alive: Instant,
    counts: Counts,
}

/// All connections are to be told of, whether they have been or not.
struct Whole {
    /// Slots that are yet to be looked at.
    left: usize,
    connections: u64,
}

impl Whole {
    /// From where the walk is once round; the walk knows how far that is.
    const NEW: Whole = Whole { left: usize::MAX, connections: 0 };
}

#[derive(Default)]
struct Counts {
    connections: u64,
    unsent: u64,
    asked: u64,
}

impl Master {
    /// Starts it. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If its sockets cannot be opened.
    pub(super) fn start(
        daemon: &Daemon,
        config: &Config,
        peers: &[IpAddr],
        inbox: &mpsc::Sender<Datagram>,
    ) -> io::Result<Master> {
        let senders = senders(daemon, config, peers)?;
        let _receivers = receivers(daemon, config, peers, inbox)?;
        let mut number = [0; 8];
        getrandom(&mut number, GetRandomFlags::empty())?;
        tracing::info!("synchronisation: master on {}", daemon.interface);
        let mut master = Master {
            daemon: daemon.clone(),
            sent: vec![0; senders.len()],
            senders,
            _receivers,
            version: Version::One,
            writers: Vec::new(),
            outbox: VecDeque::new(),
            number: u64::from_ne_bytes(number),
            next: 0,
            // Backups of another kind do not ask.
            whole: Some(Whole::NEW),
            young: Young::default(),
            alive: Instant::now(),
            counts: Counts::default(),
        };
        master.set_version(version(config));
        Ok(master)
    }

    /// What it was started with.
    pub(super) fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Hears what a backup asks.
    pub(super) fn receive(&mut self, datagram: &Datagram) {
        if Note::read(&datagram.octets, self.daemon.sync_id) == Some(Note::Ask) {
            self.counts.asked += 1;
            self.whole = Some(Whole::NEW);
        }
    }

    /// Tells of an entry that the switch found worth telling.
    pub(super) fn tell_change(&mut self, tables: &Tables, change: &Change) {
        match change.family {
            6 => self.look::<V6>(tables, change.slot, Occasion::Change),
            _ => self.look::<V4>(tables, change.slot, Occasion::Change),
        };
    }

    /// Looks at a part of the table, and sends what there is. To be called every [`super::PACE`].
    pub(super) fn tick(&mut self, tables: &Tables) {
        let config = tables.settings();
        self.set_version(version(config));
        self.look_at_young(tables);
        self.walk(tables);
        self.pack();
        self.send(config.director.sync_qlen_max.load(order::PLAIN) as usize);
        // Only when nothing waits: the numbers are those of what was sent before.
        if self.alive.elapsed() >= ALIVE && self.outbox.is_empty() {
            self.alive = Instant::now();
            self.tell_alive();
        }
    }

    fn set_version(&mut self, version: Version) {
        if self.version == version && !self.writers.is_empty() {
            return;
        }
        self.pack();
        self.version = version;
        let (id, longest) = (self.daemon.sync_id as u8, self.daemon.max_length.into());
        self.writers = self.senders.iter().map(|_| Writer::new(version, id, longest)).collect();
    }

    fn walk(&mut self, tables: &Tables) {
        let slots4 = tables.connections4.all().len() * WAYS;
        let slots = slots4 + tables.connections6.all().len() * WAYS;
        for _ in 0..slots.div_ceil(PARTS) {
            if self.outbox.len() >= MESSAGES_PER_PART {
                return;
            }
            let occasion = if self.whole.is_some() { Occasion::Whole } else { Occasion::Walk };
            let told = match self.next.checked_sub(slots4) {
                None => self.look::<V4>(tables, self.next as u32, occasion),
                Some(index) => self.look::<V6>(tables, index as u32, occasion),
            };
            self.next = (self.next + 1) % slots;
            self.count_whole(slots, told);
        }
    }

    fn count_whole(&mut self, slots: usize, told: bool) {
        let Some(whole) = &mut self.whole else { return };
        whole.connections += u64::from(told);
        whole.left = whole.left.min(slots) - 1;
        if whole.left == 0 {
            let connections = whole.connections;
            self.whole = None;
            self.pack();
            let note = Note::Whole { master: self.number, connections };
            self.outbox.push_back((0, note.write(self.daemon.sync_id as u8)));
        }
    }

    fn look_at_young(&mut self, tables: &Tables) {
        let now = Instant::now();
        while let Some(flow) = self.young.due(now) {
            match flow.family {
                6 => self.look_again::<V6>(tables, flow),
                _ => self.look_again::<V4>(tables, flow),
            }
        }
    }

    fn look_again<F: Address>(&mut self, tables: &Tables, flow: Flow) {
        let Some(place) = slot::<Tables, F>(tables, flow.slot) else { return };
        let meta = place.meta();
        // Others may have been told of it meanwhile.
        if !flow.is(meta) || place.told().state() != SEEN {
            return;
        }
        let expires = last_expiry(tables, place, flow.slot, place.peer());
        if flow.lasts(expires) {
            self.tell::<F>(tables, place, meta, flow.slot, expires);
        } else {
            self.young.wait(flow);
        }
    }

    /// Tells of the entry in this slot if there is reason to; whether it did.
    fn look<F: Address>(&mut self, tables: &Tables, index: u32, occasion: Occasion) -> bool {
        let Some(place) = slot::<Tables, F>(tables, index) else { return false };
        let meta = place.meta();
        if !meta.is_live() || meta.is_reply() {
            return false;
        }
        let Some(tuple) = place.tuple(meta) else { return false };
        let expires = last_expiry(tables, place, index, place.peer());
        let due = is_due(tables, tables.settings(), place, &tuple, expires, occasion);
        match due {
            Due::No => false,
            Due::Now => self.tell::<F>(tables, place, meta, index, expires),
            Due::Later => {
                note(place, meta, due, expires);
                if occasion == Occasion::Change {
                    self.young.wait(Flow::new::<F>(index, meta, expires));
                }
                false
            }
        }
    }

    /// Tells of the entry in this slot, and notes that; whether there are words for it.
    fn tell<F: Address>(
        &mut self,
        tables: &Tables,
        place: &Slot<F>,
        meta: Meta,
        index: u32,
        expires: Tick,
    ) -> bool {
        let Some(connection) = entry::export::<F>(tables, index) else { return false };
        note(place, meta, Due::Now, expires);
        let port = index as usize % self.writers.len();
        let Some(writer) = self.writers.get_mut(port) else { return false };
        let (finished, has_words) = writer.push(&connection);
        self.outbox.extend(finished.map(|message| (port, message)));
        self.counts.connections += u64::from(has_words);
        has_words
    }

    /// Has the messages go out that are not full yet.
    fn pack(&mut self) {
        for (port, writer) in self.writers.iter_mut().enumerate() {
            self.outbox.extend(writer.finish().map(|message| (port, message)));
        }
    }

    fn tell_alive(&self) {
        for (sender, messages) in self.senders.iter().zip(&self.sent) {
            let note = Note::Alive { master: self.number, messages: *messages };
            // The next one says the same.
            let _not_sent = sender.send(&note.write(self.daemon.sync_id as u8));
        }
    }

    /// Sends what the sockets take; of the rest at most so many messages wait.
    fn send(&mut self, waiting_max: usize) {
        while let Some((port, message)) = self.outbox.pop_front() {
            let Some(sender) = self.senders.get(port) else { continue };
            match sender.send(&message) {
                Ok(()) if Note::read(&message, 0).is_some() => {}
                Ok(()) => {
                    if let Some(sent) = self.sent.get_mut(port) {
                        *sent += 1;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.outbox.push_front((port, message));
                    break;
                }
                Err(error) => {
                    if self.counts.unsent == 0 {
                        tracing::warn!("synchronisation: cannot send on {}: {error}", self.daemon.interface);
                    }
                    self.counts.unsent += 1;
                }
            }
        }
        self.counts.unsent += self.outbox.len().saturating_sub(waiting_max) as u64;
        self.outbox.truncate(waiting_max);
    }

    /// What it has done.
    pub(super) fn facts(&self) -> Vec<Fact> {
        let name = |what: &str| format!("sync master {what}");
        vec![
            fact(name("interface"), &self.daemon.interface),
            fact(name("id"), self.daemon.sync_id),
            fact(name("connections sent"), self.counts.connections),
            fact(name("messages sent"), self.sent.iter().sum::<u64>()),
            fact(name("messages not sent"), self.counts.unsent),
            fact(name("messages waiting"), self.outbox.len()),
            fact(name("whole tables asked for"), self.counts.asked),
            fact(name("sending the whole table"), if self.whole.is_some() { "yes" } else { "no" }),
        ]
    }
}

fn version(config: &Config) -> Version {
    if config.director.sync_version.load(order::PLAIN) == 0 { Version::Zero } else { Version::One }
}
