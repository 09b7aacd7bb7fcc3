//! Having the service's scheduler choose a destination.

use super::persist::WANTED;
use super::{NONE, Program, Step, hand_over, handed_over, reject_for};
use crate::counters::Event;
use crate::platform::Platform;
use crate::scheduler;
use rlvs_packet::icmp::Cause;

/// Chooses a destination for a connection to the service that was found.
#[inline(always)]
pub fn schedule<P: Platform>(platform: &P) -> Step {
    let chosen = choose(platform, handed_over(platform, |words| &words.service));
    if chosen == NONE {
        return leave(platform);
    }
    hand_over(platform, |words| &words.destination, chosen);
    Step::Next(program_for_chosen(platform))
}

/// What follows when the destination is known.
#[inline(always)]
pub(super) fn program_for_chosen<P: Platform>(platform: &P) -> Program {
    let six = handed_over(platform, |words| &words.family) == 6;
    if handed_over(platform, |words| &words.template) == WANTED {
        return if six { Program::CreateTemplate6 } else { Program::CreateTemplate };
    }
    match (handed_over(platform, |words| &words.one_packet) == 1, six) {
        (false, false) => Program::Create,
        (false, true) => Program::Create6,
        (true, false) => Program::Once,
        (true, true) => Program::Once6,
    }
}

/// There is a service, but no destination for the packet.
#[inline(always)]
fn leave<P: Platform>(platform: &P) -> Step {
    platform.count(Event::NoDestination);
    reject_for(platform, Cause::PortUnreachable)
}

/// The index of the destination that the service's scheduler chooses.
#[inline(never)]
fn choose<P: Platform>(platform: &P, service: u32) -> u32 {
    platform.service(service).and_then(|service| scheduler::choose(platform, service)).unwrap_or(NONE)
}
