//! What the scheduler compared, and whom it chose.

use super::overlay::Overlay;
use super::report::Report;
use crate::connections::{Address, address_of};
use rlvs_ipvs::Value;
use rlvs_switch::destination::Destination;
use rlvs_switch::scheduler::hash::{Key, fold};
use rlvs_switch::scheduler::{FALLBACK, PORT, Scheduler, locality};
use rlvs_switch::service::{LISTS, MemberList, Service};
use rlvs_switch::table::{Family, Tuple};
use rlvs_switch::{Memory, Platform, order};
use std::net::SocketAddr;

/// The members and their numbers, as they are before the scheduler runs.
pub(super) struct Choice {
    scheduler: Scheduler,
    rule: String,
    members: Vec<Member>,
}

struct Member {
    index: u32,
    address: SocketAddr,
    weight: u32,
    active: u32,
    inactive: u32,
    /// Why it takes no connections.
    unfit: Option<&'static str>,
    /// What is compared: a load and what it is divided by, and how it is written.
    load: Option<(u64, u64, String)>,
}

impl Choice {
    /// Reads the list that the packet's service has now.
    pub(super) fn before<F: Family + Address>(overlay: &Overlay<'_>, tuple: &Tuple<F>) -> Option<Choice> {
        let service = overlay.service(overlay.handed_over(|words| &words.service))?;
        let list = &service.lists[overlay.handed_over(|words| &words.list) as usize & (LISTS - 1)];
        let scheduler = Scheduler::from_number(list.scheduler.load(order::PLAIN))?;
        let places = list.first.load(order::LOAD)..list.end.load(order::PLAIN);
        let members = places.filter_map(|place| {
            let index = overlay.member(place)?;
            Some(member(scheduler, index, overlay.destination(index)?))
        });
        let members: Vec<Member> = members.collect();
        let rule = rule(scheduler, overlay, service, list, tuple, &members);
        Some(Choice { scheduler, rule, members })
    }

    /// Tells it, with the destination of index `chosen` if there is one.
    pub(super) fn tell(&self, chosen: Option<u32>, report: &mut Report) {
        let name = self.scheduler.name();
        report.say("scheduler", format!("{name}: {}", self.rule), [("scheduler", name.into())]);
        for member in &self.members {
            let is_chosen = chosen == Some(member.index);
            let text = format!("{} {}", if is_chosen { ">" } else { " " }, member.words());
            let (load, share) = member.load.as_ref().map_or((0, 0), |(load, share, _)| (*load, *share));
            report.say(
                "member",
                text,
                [
                    ("address", member.address.to_string().into()),
                    ("weight", member.weight.into()),
                    ("active", member.active.into()),
                    ("inactive", member.inactive.into()),
                    ("available", member.unfit.is_none().into()),
                    ("load", load.into()),
                    ("share", share.into()),
                    ("chosen", is_chosen.into()),
                ],
            );
        }
        match self.members.iter().find(|member| chosen == Some(member.index)) {
            Some(member) => {
                let by_lot = matches!(self.scheduler, Scheduler::PowerOfTwo);
                let lot = if by_lot { ", this time: the lots of the next packet are others" } else { "" };
                let details = [("address", Value::from(member.address.to_string()))];
                report.say("chosen", format!("{}{lot}", member.address), details);
            }
            None => report.say("chosen", self.nobody(), []),
        }
    }

    fn nobody(&self) -> &'static str {
        match self.scheduler {
            _ if self.members.is_empty() => "nobody: the service has no destinations",
            Scheduler::None => "nobody, ever",
            _ if self.members.iter().all(|member| member.unfit.is_some()) => {
                "nobody: all destinations are quiesced or overloaded"
            }
            Scheduler::WeightedOverflow => "nobody: all have more active connections than weight",
            _ => "nobody: the one that the address leads to is quiesced or overloaded",
        }
    }
}

impl Member {
    fn words(&self) -> String {
        let Member { address, weight, active, inactive, .. } = self;
        let numbers = format!("{address} weight {weight}, active {active}, inactive {inactive}");
        match (self.unfit, &self.load) {
            (Some(unfit), _) => format!("{numbers}: {unfit}"),
            (None, Some((.., arithmetic))) => format!("{numbers}: {arithmetic}"),
            (None, None) => numbers,
        }
    }
}

fn member(scheduler: Scheduler, index: u32, destination: &Destination) -> Member {
    let load = |cell: &rlvs_switch::cell::AtomicU32| cell.load(order::PLAIN);
    let (weight, active, inactive) =
        (load(&destination.weight), load(&destination.active), load(&destination.inactive));
    let unfit = match (weight, load(&destination.overload)) {
        (0, _) => Some("quiesced"),
        (_, 0) => None,
        _ => Some("overloaded: it reached its upper threshold"),
    };
    Member {
        index,
        address: endpoint(destination),
        weight,
        active,
        inactive,
        unfit,
        load: compared(scheduler, destination, weight),
    }
}

/// What the scheduler compares of a destination.
fn compared(scheduler: Scheduler, destination: &Destination, weight: u32) -> Option<(u64, u64, String)> {
    let (active, inactive) = (destination.active.load(order::PLAIN), destination.inactive.load(order::PLAIN));
    let weight = u64::from(weight);
    let (load, share, dividend) = match scheduler {
        Scheduler::LeastConnection => (destination.overhead(), 1, format!("256 x {active} + {inactive}")),
        Scheduler::WeightedLeastConnection
        | Scheduler::PowerOfTwo
        | Scheduler::LocalityBased
        | Scheduler::LocalityBasedReplicated => {
            (destination.overhead(), weight, format!("(256 x {active} + {inactive}) / {weight}"))
        }
        Scheduler::ShortestExpectedDelay | Scheduler::NeverQueue => {
            (u64::from(active) + 1, weight, format!("({active} + 1) / {weight}"))
        }
        _ => return None,
    };
    let quotient = load as f64 / share.max(1) as f64;
    Some((load, share, format!("{dividend} = {}", (quotient * 100.0).round() / 100.0)))
}

/// How the scheduler goes about it.
fn rule<F: Family + Address>(
    scheduler: Scheduler,
    overlay: &Overlay<'_>,
    service: &Service,
    list: &MemberList,
    tuple: &Tuple<F>,
    members: &[Member],
) -> String {
    let cursor = list.cursor.load(order::PLAIN) as usize;
    let last = match members.get(cursor) {
        Some(member) => format!("the last choice was {}", member.address),
        None => "nobody was chosen yet".into(),
    };
    match scheduler {
        Scheduler::None => "chooses nobody".into(),
        Scheduler::RoundRobin => format!("the next one that takes connections; {last}"),
        Scheduler::WeightedRoundRobin => {
            let threshold = list.threshold.load(order::PLAIN);
            format!("the next one of weight {threshold} or more; {last}")
        }
        Scheduler::LeastConnection => "the smallest 256 x active + inactive".into(),
        Scheduler::WeightedLeastConnection => "the smallest (256 x active + inactive) / weight".into(),
        Scheduler::ShortestExpectedDelay => "the smallest (active + 1) / weight".into(),
        Scheduler::NeverQueue => {
            "the first one without active connections, else the smallest (active + 1) / weight".into()
        }
        Scheduler::WeightedFailover => "the highest weight".into(),
        Scheduler::WeightedOverflow => {
            "the highest weight of those with no more active connections than weight".into()
        }
        Scheduler::PowerOfTwo => {
            "of two drawn by lot, with chances by weight, the smaller (256 x active + inactive) / weight"
                .into()
        }
        Scheduler::DestinationHashing | Scheduler::SourceHashing | Scheduler::MaglevHashing => {
            hashing(scheduler, overlay, service, list, tuple)
        }
        Scheduler::LocalityBased | Scheduler::LocalityBasedReplicated => {
            let sequence = service.sequence.load(order::PLAIN);
            let servers = locality::servers(overlay, sequence, F::words(tuple.destination));
            let servers: Vec<String> = members
                .iter()
                .filter(|member| servers.contains(&member.index))
                .map(|member| member.address.to_string())
                .collect();
            let wanted = F::ip(tuple.destination);
            let known = match servers.as_slice() {
                [] => format!("nobody serves {wanted} yet"),
                servers => {
                    format!("{wanted} is served by {}, unless that has too much to do", servers.join(", "))
                }
            };
            format!("{known}; else the smallest (256 x active + inactive) / weight")
        }
    }
}

fn hashing<F: Family + Address>(
    scheduler: Scheduler,
    overlay: &Overlay<'_>,
    service: &Service,
    list: &MemberList,
    tuple: &Tuple<F>,
) -> String {
    let flags = service.flags.load(order::PLAIN);
    let of_receiver = scheduler == Scheduler::DestinationHashing;
    let hashed = if of_receiver { tuple.destination } else { tuple.source };
    let port = u16::from_be_bytes(tuple.ports[0]);
    let key = Key { address: fold(F::words(hashed)), port };
    let Some(slot) = scheduler.slot(flags, key) else { return String::new() };
    let owner =
        owner(overlay, list, slot).map_or_else(|| "nobody's".into(), |address| format!("{address}'s"));
    let with_port = !of_receiver && flags & PORT != 0;
    let hashed =
        if with_port { SocketAddr::new(F::ip(hashed), port).to_string() } else { F::ip(hashed).to_string() };
    let fallback =
        if !of_receiver && flags & FALLBACK != 0 { "; if that takes none, the next slot's" } else { "" };
    format!("{hashed} hashes to slot {slot} of {}, which is {owner}{fallback}", scheduler.slots())
}

/// Whom a slot of the list's hash table leads to.
fn owner(overlay: &Overlay<'_>, list: &MemberList, slot: u32) -> Option<SocketAddr> {
    let slot = slot as usize;
    let slots_of_part = rlvs_switch::scheduler::hash::PART_SLOTS;
    let part = list.table.load(order::PLAIN).wrapping_add((slot / slots_of_part) as u32);
    let index = overlay.table_part(part)?.slots[slot % slots_of_part].load(order::PLAIN);
    overlay.destination(index).map(endpoint)
}

/// A destination's address and port (0: the packet's).
pub(super) fn endpoint(destination: &Destination) -> SocketAddr {
    let port = u16::from_be(destination.port.load(order::PLAIN) as u16);
    SocketAddr::new(address_of(destination), port)
}
