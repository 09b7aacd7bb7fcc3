//! Having the service's scheduler choose a destination.

use super::hash::by_hash;
use super::locality::by_locality;
use super::persist::WANTED;
use super::{NONE, Program, Step, hand_over, handed_over, leave};
use crate::order;
use crate::platform::{Platform, Verdict};
use crate::scheduler::{self, Scheduler};
use crate::service::{LISTS, MemberList};

/// Leaves a connection to this service to the program that has its scheduler.
#[inline(always)]
pub(super) fn leave_to_scheduler<P: Platform>(platform: &P, service: u32) -> Step {
    let Some(entry) = platform.service(service) else { return Step::Done(Verdict::Pass) };
    let number = entry.current.load(order::LOAD) & (LISTS as u32 - 1);
    hand_over(platform, |words| &words.service, service);
    // All that follows goes by this list, also if the director changes the scheduler meanwhile.
    hand_over(platform, |words| &words.list, number);
    Step::Next(Program::Schedule)
}

/// Has the service's scheduler choose a destination for the connection.
#[inline(always)]
pub fn schedule<P: Platform>(platform: &P) -> Step {
    let chosen = choose(platform, handed_over(platform, |words| &words.service));
    if chosen == NONE {
        return leave(platform);
    }
    hand_over(platform, |words| &words.destination, chosen);
    Step::Next(program_for_chosen(platform))
}

#[inline(always)]
fn choose<P: Platform>(platform: &P, service: u32) -> u32 {
    let Some(list) = list_of(platform, service) else { return NONE };
    let scheduler = list.scheduler.load(order::PLAIN);
    let is = |one: Scheduler| scheduler == one as u32;
    if is(Scheduler::RoundRobin) {
        in_turn(platform, service)
    } else if is(Scheduler::WeightedRoundRobin) {
        in_weighted_turn(platform, service)
    } else if is(Scheduler::PowerOfTwo) {
        by_lot(platform, service)
    } else if is(Scheduler::LocalityBased) || is(Scheduler::LocalityBasedReplicated) {
        by_locality(platform, service)
    } else if Scheduler::has_ranks(scheduler) {
        by_rank(platform, service)
    } else if is(Scheduler::DestinationHashing)
        || is(Scheduler::SourceHashing)
        || is(Scheduler::MaglevHashing)
    {
        by_hash(platform, service)
    } else {
        NONE
    }
}

/// Declares functions that choose, or [`NONE`]: of one word each, for the verifier, which follows them apart.
macro_rules! schedulers {
    ($($choose:ident => $group:path;)*) => {
        $(
            #[inline(never)]
            pub(super) fn $choose<P: Platform>(platform: &P, service: u32) -> u32 {
                list_of(platform, service).and_then(|list| $group(platform, list)).unwrap_or(NONE)
            }
        )*
    };
}

schedulers! {
    in_turn => scheduler::in_turn;
    in_weighted_turn => scheduler::in_weighted_turn;
    by_rank => scheduler::by_rank;
    by_lot => scheduler::by_lot;
}

/// The list of members that holds for this packet.
#[inline(always)]
pub(super) fn list_of<P: Platform>(platform: &P, service: u32) -> Option<&MemberList> {
    let number = handed_over(platform, |words| &words.list) as usize & (LISTS - 1);
    platform.service(service).map(|service| &service.lists[number])
}

/// What follows when the destination is known.
#[inline(always)]
pub(super) fn program_for_chosen<P: Platform>(platform: &P) -> Program {
    let Some(handover) = platform.handover() else { return Program::Create };
    handover.again.store(0, order::PLAIN);
    let six = handover.family.load(order::PLAIN) == 6;
    if handover.template.load(order::PLAIN) == WANTED {
        return if six { Program::CreateTemplate6 } else { Program::CreateTemplate };
    }
    if handover.one_packet.load(order::PLAIN) != 1 {
        return if six { Program::Create6 } else { Program::Create };
    }
    match (handover.from_server.load(order::PLAIN) == 1, six) {
        (true, false) => Program::OnceBack,
        (true, true) => Program::OnceBack6,
        (false, false) => Program::Once,
        (false, true) => Program::Once6,
    }
}
