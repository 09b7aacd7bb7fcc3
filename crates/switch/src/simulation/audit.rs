//! What must be true of the connection tables whenever no CPU is at work on them.

use super::Simulation;
use crate::config::Config;
use crate::frame::octets;
use crate::order;
use crate::platform::Memory;
use crate::scheduler::ranking;
use crate::sip::CallKey;
use crate::state;
use crate::table::lookup::{find, is_expired};
use crate::table::release::release;
use crate::table::{Family, V4, V6, WAYS, WAYS_SHIFT, slot};
use crate::table::{control, template, trace};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An entry of the table, in words.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// Sender of its packets.
    pub source: SocketAddr,
    /// Receiver of its packets.
    pub destination: SocketAddr,
    /// Protocol.
    pub protocol: u8,
    /// Name of its state.
    pub state: &'static str,
    /// Whether it is for replies.
    pub reply: bool,
    /// Whether it is a template.
    pub template: bool,
    /// The destination that it leads to or comes from.
    pub server: u32,
    /// Ticks until it expires, its peer left aside.
    pub left: i32,
    /// Index of its slot.
    pub slot: u32,
    /// Index of the other slot; its own if it is alone.
    pub peer: u32,
}

impl Simulation {
    /// All entries, expired ones too.
    pub fn connections(&self) -> Vec<Connection> {
        let mut all = self.entries::<V4>(|ip| IpAddr::V4(Ipv4Addr::from(ip.to_ne_bytes())));
        all.extend(self.entries::<V6>(|ip| IpAddr::V6(Ipv6Addr::from(octets(ip)))));
        all
    }

    /// The state's name of the forward entry between a client and a VIP, if there is one that has not expired.
    pub fn state_of(&self, client: SocketAddr, vip: SocketAddr) -> Option<&'static str> {
        self.connections()
            .into_iter()
            .find(|c| !c.reply && c.source == client && c.destination == vip && c.left > 0)
            .map(|c| c.state)
    }

    /// The Call-ID of a template, if it is a call's.
    pub fn call_of(&self, template: &Connection) -> Option<String> {
        let key = if template.source.is_ipv4() {
            CallKey::new(template.slot, slot::<_, V4>(self, template.slot)?.meta().version(), 4)
        } else {
            CallKey::new(template.slot, slot::<_, V6>(self, template.slot)?.meta().version(), 6)
        };
        self.calls.lock().ok()?.get(&key).map(|call| String::from_utf8_lossy(call).into_owned())
    }

    /// Releases what has expired, as the director's sweep does; how many connections that were.
    pub fn sweep(&self) -> usize {
        self.sweep_table::<V4>() + self.sweep_table::<V6>()
    }

    /// Checks all that must hold while no CPU is at work.
    ///
    /// # Errors
    ///
    /// The first thing that does not.
    pub fn audit(&self) -> Result<(), String> {
        audit(self)?;
        for service in 0..self.services.len() as u32 {
            if !ranking::is_sound(self, self.present_list(service), &self.members_of(service)) {
                return Err(format!("a rank of service {service} is too high"));
            }
        }
        match self.stripes.iter().position(|lock| lock.load(order::PLAIN) != 0) {
            Some(lock) => Err(format!("stripe {lock} is still locked")),
            None => Ok(()),
        }
    }

    fn entries<F: Family>(&self, address: fn(F::Address) -> IpAddr) -> Vec<Connection> {
        let mut all = Vec::new();
        for index in slots::<F>(&self.config) {
            let Some(place) = slot::<_, F>(self, index) else { continue };
            let meta = place.meta();
            let (Some(tuple), Some(entry)) = (place.tuple(meta), place.entry(meta)) else { continue };
            if !meta.is_live() {
                continue;
            }
            let [source, destination] = tuple.ports.map(u16::from_be_bytes);
            all.push(Connection {
                source: SocketAddr::new(address(tuple.source), source),
                destination: SocketAddr::new(address(tuple.destination), destination),
                protocol: tuple.protocol,
                state: if meta.is_template() {
                    template::name(meta.state())
                } else {
                    state::name(tuple.protocol, meta.state())
                },
                reply: meta.is_reply(),
                template: meta.is_template(),
                server: entry.destination,
                left: self.now().until(place.expires()),
                slot: index,
                peer: entry.peer,
            });
        }
        all
    }

    fn sweep_table<F: Family>(&self) -> usize {
        let expired = |index: &u32| {
            slot::<_, F>(self, *index).is_some_and(|place| {
                let meta = place.meta();
                meta.is_live()
                    && (self.now().until(place.expires()) > 0
                        || !control::postpone::<_, F>(self, place, meta, self.now()))
                    && is_expired(self, place, *index, self.now())
                    && release::<_, F>(self, *index, meta)
            })
        };
        let ended = slots::<F>(&self.config).filter(expired).count();
        for index in slots::<F>(&self.config) {
            if index % WAYS as u32 == 0
                && let Some(bucket) = F::bucket(self, index >> WAYS_SHIFT)
            {
                trace::wipe_vacant(self, bucket);
            }
            trace::wipe::<_, F>(self, &self.config, index);
        }
        ended
    }

    /// How many slots each family's table has.
    pub fn capacity(&self) -> usize {
        self.buckets4.len() * WAYS
    }
}

/// Checks connection tables and destinations, of any memory that no CPU is at work on: every entry can be found, once;
/// two entries of a connection name each other; destinations have as many connections as the tables say.
///
/// # Errors
///
/// The first thing that does not hold.
pub fn audit<M: Memory>(memory: &M) -> Result<(), String> {
    let mut numbers = HashMap::new();
    audit_table::<M, V4>(memory, &mut numbers)?;
    audit_table::<M, V6>(memory, &mut numbers)?;
    for index in 0.. {
        let Some(destination) = memory.destination(index) else { break };
        let counted = numbers.remove(&index).unwrap_or_default();
        let cells = [&destination.active, &destination.inactive, &destination.persistent];
        let [active, inactive, persistent] = cells.map(|cell| cell.load(order::PLAIN));
        let says = (active, inactive, persistent);
        if says != counted {
            return Err(format!(
                "destination {index} says {says:?} active and inactive connections and templates, the table has {counted:?}"
            ));
        }
    }
    match numbers.keys().next() {
        Some(destination) => Err(format!("a connection names destination {destination}, which is none")),
        None => Ok(()),
    }
}

/// The destination of connections that have none: to go where they were going, or told of by another director.
const UNKNOWN: u32 = u32::MAX;

fn audit_table<M: Memory, F: Family + core::fmt::Debug>(
    memory: &M,
    numbers: &mut HashMap<u32, (u32, u32, u32)>,
) -> Result<(), String> {
    let config = memory.config().ok_or("no settings")?;
    let mut controlled = HashMap::<u32, u32>::new();
    for index in slots::<F>(config) {
        let Some(place) = slot::<_, F>(memory, index) else { return Err(format!("no slot {index}")) };
        let meta = place.meta();
        if meta.is_free() {
            continue;
        }
        let (Some(tuple), Some(entry)) = (place.tuple(meta), place.entry(meta)) else {
            return Err(format!("slot {index} changes while nobody is at work"));
        };
        if !meta.is_live() {
            return Err(format!("slot {index} was claimed and left"));
        }
        let hidden = meta.is_template() && tuple.ports[1] == [0xff; 2];
        match find(memory, config, &tuple, F::hash(config, &tuple)) {
            _ if hidden => {}
            Some(found) if found.index == index => {}
            Some(found) => {
                return Err(format!("{tuple:?} is in slots {index} and {}", found.index));
            }
            None => return Err(format!("{tuple:?} in slot {index} is not found")),
        }
        if meta.is_reply() || entry.peer != index {
            let other = slot::<_, F>(memory, entry.peer).map(|other| (other.meta(), other.peer()));
            let Some((other_meta, back)) = other else { return Err(format!("slot {index}: no peer")) };
            if !other_meta.is_live() || other_meta.is_reply() == meta.is_reply() || back != index {
                return Err(format!(
                    "slot {index} ({meta:x?}, {tuple:?}) names slot {} ({other_meta:x?}) as its peer, which names {back}",
                    entry.peer
                ));
            }
            if other_meta.state() != meta.state() {
                return Err(format!("slots {index} and {} are in different states", entry.peer));
            }
        }
        if entry.destination == UNKNOWN {
            continue;
        }
        if meta.is_template() {
            numbers.entry(entry.destination).or_default().2 += 1;
        } else if !meta.is_reply() {
            let number = numbers.entry(entry.destination).or_default();
            if let Some(controller) = place.controller() {
                *controlled.entry(controller).or_default() += 1;
            }
            if state::is_active(tuple.protocol, meta.state()) {
                number.0 += 1;
            } else {
                number.1 += 1;
            }
        }
    }
    for index in slots::<F>(config) {
        let Some(place) = slot::<_, F>(memory, index) else { continue };
        if !place.meta().is_live() || !place.meta().is_controller() {
            continue;
        }
        let (says, counted) =
            (place.controls().load(order::PLAIN), controlled.remove(&index).unwrap_or_default());
        if says != counted {
            return Err(format!("slot {index} says it controls {says} connections, {counted} name it"));
        }
    }
    match controlled.keys().next() {
        Some(index) => Err(format!("a connection is controlled by slot {index}, which controls none")),
        None => Ok(()),
    }
}

fn slots<F: Family>(config: &Config) -> std::ops::Range<u32> {
    0..(F::mask(config) + 1) << WAYS_SHIFT
}
