//! The locality-based schedulers: the address that the client wants, and their choice.

use super::schedule::{by_rank, list_of};
use super::seen::seen;
use super::{NONE, handed_over};
use crate::order;
use crate::platform::Platform;
use crate::scheduler;
use crate::scheduler::locality::Wanted;
use crate::table::{Family, V4, V6};

/// Chooses a destination for a connection to the service by the address that the packet is for, or [`NONE`].
#[inline(always)]
pub(super) fn by_locality<P: Platform>(platform: &P, service: u32) -> u32 {
    match serving(platform, service) {
        NONE => newly_serving(platform, service),
        chosen => chosen,
    }
}

#[inline(always)]
fn wanted<P: Platform>(platform: &P, service: u32) -> Option<Wanted> {
    let sequence = platform.service(service)?.sequence.load(order::PLAIN);
    let address = match handed_over(platform, |words| &words.family) {
        6 => V6::words(seen::<P, V6>(platform)?.0.destination),
        _ => V4::words(seen::<P, V4>(platform)?.0.destination),
    };
    Some(Wanted { service: sequence, address })
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
    let chosen = by_rank(platform, service);
    if chosen != NONE {
        remember(platform, service, chosen);
    }
    chosen
}

#[inline(never)]
fn remember<P: Platform>(platform: &P, service: u32, chosen: u32) -> u32 {
    if let (Some(list), Some(wanted)) = (list_of(platform, service), wanted(platform, service)) {
        scheduler::remember_locality(platform, list, wanted, chosen);
    }
    0
}
