//! Having the service's scheduler choose a destination.
//!
//! The schedulers are several programs: the verifier follows each one's walk over all members, and all of them
//! together are too much for it.

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
    Step::Next(program_of(&entry.lists[number as usize]))
}

/// The program that has the list's scheduler.
#[inline(always)]
fn program_of(list: &MemberList) -> Program {
    let scheduler = list.scheduler.load(order::PLAIN);
    let is = |one: Scheduler| scheduler == one as u32;
    if is(Scheduler::WeightedRoundRobin) {
        Program::ScheduleInWeightedTurn
    } else if is(Scheduler::LeastConnection) || is(Scheduler::WeightedLeastConnection) {
        Program::ScheduleByConnections
    } else if is(Scheduler::ShortestExpectedDelay) || is(Scheduler::NeverQueue) {
        Program::ScheduleByDelay
    } else if is(Scheduler::WeightedFailover) || is(Scheduler::WeightedOverflow) {
        Program::ScheduleByWeight
    } else if is(Scheduler::PowerOfTwo) {
        Program::ScheduleByLot
    } else if is(Scheduler::DestinationHashing)
        || is(Scheduler::SourceHashing)
        || is(Scheduler::MaglevHashing)
    {
        Program::ScheduleByHash
    } else if is(Scheduler::LocalityBased) || is(Scheduler::LocalityBasedReplicated) {
        Program::ScheduleByLocality
    } else {
        Program::ScheduleInTurn
    }
}

/// Declares the step of each group of schedulers, and the function that chooses for it: apart and of one word, for the
/// verifier.
macro_rules! schedulers {
    ($($step:ident, $choose:ident => $group:path;)*) => {
        $(
            /// Chooses a destination for a connection to the service that was found.
            #[inline(always)]
            pub fn $step<P: Platform>(platform: &P) -> Step {
                go_on_with(platform, $choose(platform, handed_over(platform, |words| &words.service)))
            }

            #[inline(never)]
            fn $choose<P: Platform>(platform: &P, service: u32) -> u32 {
                list_of(platform, service).and_then(|list| $group(platform, list)).unwrap_or(NONE)
            }
        )*
    };
}

schedulers! {
    in_turn, choose_in_turn => scheduler::in_turn;
    in_weighted_turn, choose_in_weighted_turn => scheduler::in_weighted_turn;
    by_connections, choose_by_connections => scheduler::by_connections;
    by_delay, choose_by_delay => scheduler::by_delay;
    by_weight, choose_by_weight => scheduler::by_weight;
    by_lot, choose_by_lot => scheduler::by_lot;
}

/// The list of members that holds for this packet.
#[inline(always)]
pub(super) fn list_of<P: Platform>(platform: &P, service: u32) -> Option<&MemberList> {
    let number = handed_over(platform, |words| &words.list) as usize & (LISTS - 1);
    platform.service(service).map(|service| &service.lists[number])
}

/// The connection is to be made to this destination, or to none.
#[inline(always)]
pub(super) fn go_on_with<P: Platform>(platform: &P, chosen: u32) -> Step {
    if chosen == NONE {
        return leave(platform);
    }
    hand_over(platform, |words| &words.destination, chosen);
    Step::Next(program_for_chosen(platform))
}

/// What follows when the destination is known.
#[inline(always)]
pub(super) fn program_for_chosen<P: Platform>(platform: &P) -> Program {
    hand_over(platform, |words| &words.again, 0);
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
