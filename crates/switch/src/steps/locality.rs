//! The locality-based schedulers' step: the address that the client wants, and their choice.

use super::schedule::{go_on_with, list_of};
use super::{NONE, Step, hand_over, handed_over};
use crate::frame::{self, Link, Network};
use crate::ip::Ip;
use crate::order;
use crate::platform::Platform;
use crate::scheduler;
use crate::scheduler::locality::Wanted;
use crate::table::{V4, V6};

/// Chooses a destination for a connection to the service that was found, by the address that the packet is for.
#[inline(always)]
pub fn by_locality<P: Platform>(platform: &P) -> Step {
    let service = handed_over(platform, |words| &words.service);
    let seen = match frame::network(platform) {
        Network::V4(link) => note4(platform, link.pack()),
        Network::V6(link) => note6(platform, link.pack()),
        Network::Other => 0,
    };
    if seen == 0 {
        return go_on_with(platform, NONE);
    }
    match serving(platform, service) {
        NONE => go_on_with(platform, newly_serving(platform, service)),
        chosen => go_on_with(platform, chosen),
    }
}

#[inline(never)]
fn note4<P: Platform>(platform: &P, link: u32) -> u32 {
    note::<P, V4>(platform, Link::unpack(link)) as u32
}

#[inline(never)]
fn note6<P: Platform>(platform: &P, link: u32) -> u32 {
    note::<P, V6>(platform, Link::unpack(link)) as u32
}

/// Keeps the address that the packet is for. False if the packet cannot be read.
#[inline(always)]
fn note<P: Platform, F: Ip>(platform: &P, link: Link) -> bool {
    let Some((_, tuple)) = F::parse(platform, link) else { return false };
    let words = F::words(tuple.destination);
    let mut i = 0;
    while i < 4 {
        hand_over(platform, |handover| &handover.wanted[i], words[i]);
        i += 1;
    }
    true
}

#[inline(always)]
fn wanted<P: Platform>(platform: &P, service: u32) -> Option<Wanted> {
    let word = |i: usize| handed_over(platform, |words| &words.wanted[i]);
    let sequence = platform.service(service)?.sequence.load(order::PLAIN);
    Some(Wanted { service: sequence, address: [word(0), word(1), word(2), word(3)] })
}

#[inline(never)]
fn serving<P: Platform>(platform: &P, service: u32) -> u32 {
    let (Some(list), Some(wanted)) = (list_of(platform, service), wanted(platform, service)) else {
        return NONE;
    };
    scheduler::by_locality(platform, list, wanted).unwrap_or(NONE)
}

#[inline(always)]
fn newly_serving<P: Platform>(platform: &P, service: u32) -> u32 {
    let chosen = least_loaded(platform, service);
    if chosen != NONE {
        remember(platform, service, chosen);
    }
    chosen
}

#[inline(never)]
fn least_loaded<P: Platform>(platform: &P, service: u32) -> u32 {
    list_of(platform, service).and_then(|list| scheduler::by_connections(platform, list)).unwrap_or(NONE)
}

#[inline(never)]
fn remember<P: Platform>(platform: &P, service: u32, chosen: u32) -> u32 {
    if let (Some(list), Some(wanted)) = (list_of(platform, service), wanted(platform, service)) {
        scheduler::remember_locality(platform, list, wanted, chosen);
    }
    0
}
