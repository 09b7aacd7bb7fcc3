//! The hashing schedulers: what they need of the packet, and their choice.

use super::schedule::list_of;
use super::seen::{Seen, seen};
use super::{NONE, handed_over};
use crate::order;
use crate::platform::Platform;
use crate::scheduler::hash::{Key, fold};
use crate::scheduler::{self, Scheduler};
use crate::table::{V4, V6};

/// Chooses a destination for a connection to the service by the packet's addresses, or [`NONE`].
#[inline(always)]
pub(super) fn by_hash<P: Platform>(platform: &P, service: u32) -> u32 {
    let of_destination = goes_by_destination(platform, service);
    choose(platform, service, key(platform, of_destination))
}

#[inline(never)]
fn goes_by_destination<P: Platform>(platform: &P, service: u32) -> u32 {
    list_of(platform, service).is_some_and(|list| list.scheduled_by(Scheduler::DestinationHashing)) as u32
}

#[inline(never)]
fn key<P: Platform>(platform: &P, of_destination: u32) -> u64 {
    match handed_over(platform, |words| &words.family) {
        6 => key_of::<P, V6>(platform, of_destination),
        _ => key_of::<P, V4>(platform, of_destination),
    }
}

#[inline(always)]
fn key_of<P: Platform, F: Seen>(platform: &P, of_destination: u32) -> u64 {
    let Some((tuple, _)) = seen::<P, F>(platform) else { return 0 };
    let address = if of_destination != 0 { tuple.destination } else { tuple.source };
    Key { address: fold(F::words(address)), port: u16::from_be_bytes(tuple.ports[0]) }.pack()
}

#[inline(never)]
fn choose<P: Platform>(platform: &P, service: u32, key: u64) -> u32 {
    let Some(list) = list_of(platform, service) else { return NONE };
    let Some(service) = platform.service(service) else { return NONE };
    let flags = service.flags.load(order::PLAIN);
    scheduler::by_hash(platform, list, flags, Key::unpack(key)).unwrap_or(NONE)
}
