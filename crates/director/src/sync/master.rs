//! The master: tells others of this director's connections.
//!
//! IPVS tells of a connection when it had so many packets. Packets are not counted here, for each connection; so a connection is told of as soon
//! as it is established, at each later state, and again when its expiry has been put off by a part of its timeout.

use super::entry;
use super::socket::{Receiver, Sender, receivers, senders};
use super::{Datagram, fact};
use crate::connections::{Address, last_expiry};
use crate::tables::Tables;
use rlvs_ipvs::sync::{Note, Version, Writer};
use rlvs_ipvs::{Daemon, Fact};
use rlvs_switch::config::{Config, Tick};
use rlvs_switch::sync::Change;
use rlvs_switch::table::slot::HIDDEN;
use rlvs_switch::table::{Family, Meta, Slot, Told, Tuple, V4, V6, WAYS, slot};
use rlvs_switch::{Memory, order, state};
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

/// A state that no protocol has: the walk has seen the entry once, and waits whether more packets come.
const SEEN: u8 = u8::MAX;

/// A connection is told of again when its expiry was put off by this part of its timeout, unless `sync_refresh_period` says else.
const REFRESH_PART: u32 = 4;

/// Seconds that it was put off by at least.
const REFRESH_LEAST: u32 = 10;

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

/// Why an entry is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// The switch told of it.
    Change,
    /// In turn.
    Walk,
    /// All are to be told of.
    Whole,
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
        if due == Due::Later {
            note(place, meta, due, expires);
        }
        if due != Due::Now {
            return false;
        }
        let Some(connection) = entry::export::<F>(tables, index) else { return false };
        note(place, meta, due, expires);
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

/// Whether others are to be told of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Now,
    No,
    /// If there are more packets.
    Later,
}

fn is_due<M: Memory, F: Family>(
    memory: &M,
    config: &Config,
    place: &Slot<F>,
    tuple: &Tuple<F>,
    expires: Tick,
    occasion: Occasion,
) -> Due {
    let (meta, told) = (place.meta(), place.told());
    let is_template = meta.is_template();
    let timeout = match is_template {
        // One that no client is to find any more.
        true if tuple.ports[1] == HIDDEN => return Due::No,
        true => place.timeout(),
        false if !state::is_told(tuple.protocol, meta.state()) => return Due::No,
        false => state::expiry(config, tuple.protocol, meta.state(), Tick(0)).0,
    };
    if !is_template && config.director.sync_persist_mode.load(order::PLAIN) != 0 {
        let controller = place.controller().and_then(|index| slot::<M, F>(memory, index));
        if controller.is_some_and(|controller| controller.meta().is_template()) {
            return Due::No;
        }
    }
    if occasion == Occasion::Whole {
        return Due::Now;
    }
    // Of protocols without states only flows that last are told of: others are over before a failover.
    if told == Told::NEVER {
        return if is_template || meta.state() != state::NONE { Due::Now } else { Due::Later };
    }
    if told.state() == SEEN {
        return if told.moved(expires) > 0 { Due::Now } else { Due::No };
    }
    if told.state() != meta.state() || told.moved(expires) >= refresh(config, timeout) {
        return Due::Now;
    }
    Due::No
}

/// Keeps in the slot what others were told, so that the next look knows.
fn note<F: Family>(place: &Slot<F>, meta: Meta, due: Due, expires: Tick) {
    match due {
        Due::Now => place.set_told(meta, Told::new(meta.state(), expires)),
        Due::Later => place.set_told(meta, Told::new(SEEN, expires)),
        Due::No => {}
    }
}

/// Ticks that the expiry of a connection with this timeout must have been put off by for it to be told of again.
fn refresh(config: &Config, timeout: u32) -> i32 {
    let least = Tick::in_seconds(REFRESH_LEAST);
    let ticks = match config.director.sync_refresh_period.load(order::PLAIN) {
        0 => (timeout / REFRESH_PART).max(least),
        seconds => Tick::in_seconds(seconds).min((timeout / 2).max(least)),
    };
    ticks.max(1) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlvs_packet::protocol::{TCP, UDP};
    use rlvs_packet::tcp::{ACK, FIN, SYN};
    use rlvs_switch::scheduler::Scheduler;
    use rlvs_switch::simulation::{Packet, Server, Simulation};

    /// A director with a service for TCP and one for UDP.
    fn world() -> Simulation {
        let mut simulation = Simulation::new(64, 1);
        for protocol in [TCP, UDP] {
            let vip = "10.1.0.200:80".parse().unwrap();
            let service = simulation.add_service(protocol, vip, Scheduler::RoundRobin);
            simulation.add_destination(service, &Server::direct("10.2.0.1:80".parse().unwrap()));
        }
        simulation
    }

    fn send(simulation: &Simulation, protocol: u8, flags: u8) {
        let (client, vip) = ("10.9.0.7:20000".parse().unwrap(), "10.1.0.200:80".parse().unwrap());
        let packet = if protocol == TCP { Packet::tcp(client, vip, flags) } else { Packet::udp(client, vip) };
        simulation.receive(&packet.frame());
    }

    /// Looks at the one connection, and notes what follows as the master does.
    fn look(simulation: &Simulation, occasion: Occasion) -> Due {
        let index =
            simulation.connections().into_iter().find(|entry| !entry.reply && !entry.template).unwrap().slot;
        let place = slot::<_, V4>(simulation, index).unwrap();
        let (meta, expires) = (place.meta(), place.expires());
        let tuple = place.tuple(meta).unwrap();
        let due = is_due(simulation, simulation.config().unwrap(), place, &tuple, expires, occasion);
        note(place, meta, due, expires);
        due
    }

    #[test]
    fn connections_are_told_of_by_state_and_time() {
        let simulation = world();
        send(&simulation, TCP, SYN);
        assert_eq!(look(&simulation, Occasion::Walk), Due::No, "it is not established");
        send(&simulation, TCP, ACK);
        assert_eq!(look(&simulation, Occasion::Change), Due::Now);
        assert_eq!(look(&simulation, Occasion::Walk), Due::No);
        assert_eq!(look(&simulation, Occasion::Whole), Due::Now, "it was asked for");
        // A quarter of 900 seconds.
        for (seconds, expected) in [(200, Due::No), (30, Due::Now), (10, Due::No)] {
            simulation.advance(seconds);
            assert_eq!(look(&simulation, Occasion::Walk), Due::No, "no packets");
            send(&simulation, TCP, ACK);
            assert_eq!(look(&simulation, Occasion::Walk), expected, "after {seconds} seconds more");
        }
        let config = simulation.config().unwrap();
        config.director.sync_refresh_period.store(60, order::PLAIN);
        simulation.advance(55);
        send(&simulation, TCP, ACK);
        assert_eq!(look(&simulation, Occasion::Walk), Due::Now, "65 seconds since it was told of");
        send(&simulation, TCP, FIN | ACK);
        assert_eq!(look(&simulation, Occasion::Walk), Due::Now, "even if the ring had no room for it");
        assert_eq!(
            simulation.state_of("10.9.0.7:20000".parse().unwrap(), "10.1.0.200:80".parse().unwrap()),
            Some("FIN_WAIT")
        );
        assert_eq!(look(&simulation, Occasion::Change), Due::No, "it has been");
    }

    #[test]
    fn udp_flows_are_told_of_once_they_last() {
        let simulation = world();
        send(&simulation, UDP, 0);
        assert_eq!(look(&simulation, Occasion::Walk), Due::Later);
        simulation.advance(2);
        assert_eq!(look(&simulation, Occasion::Walk), Due::No, "one packet only");
        simulation.advance(2);
        send(&simulation, UDP, 0);
        assert_eq!(look(&simulation, Occasion::Walk), Due::Now);
        simulation.advance(2);
        send(&simulation, UDP, 0);
        assert_eq!(look(&simulation, Occasion::Walk), Due::No);
    }

    #[test]
    fn templates_stand_for_their_connections_if_so_set() {
        let mut simulation = Simulation::new(64, 1);
        let vip = "10.1.0.200:80".parse().unwrap();
        let service = simulation.add_service(TCP, vip, Scheduler::RoundRobin);
        simulation.add_destination(service, &Server::direct("10.2.0.1:80".parse().unwrap()));
        simulation.make_persistent(service, 300, u32::MAX);
        simulation.config().unwrap().director.sync_persist_mode.store(1, order::PLAIN);
        send(&simulation, TCP, SYN);
        send(&simulation, TCP, ACK);
        assert_eq!(look(&simulation, Occasion::Change), Due::No);
        let template = simulation.connections().into_iter().find(|entry| entry.template).unwrap();
        let place = slot::<_, V4>(&simulation, template.slot).unwrap();
        let tuple = place.tuple(place.meta()).unwrap();
        let due =
            is_due(&simulation, simulation.config().unwrap(), place, &tuple, place.expires(), Occasion::Walk);
        assert_eq!(due, Due::Now);
    }
}
