//! Weighted round robin (`wrr`): the members in turn, the heavier ones more often.
//!
//! A threshold falls from the highest weight in steps of the weights' greatest common divisor, and round by round all
//! members that reach it are chosen: weights 4, 3, 2 give A A B A B C A B C.

use core::ops::ControlFlow;

use super::{Members, NOBODY, lock, somebody};
use crate::order;
use crate::platform::Platform;
use crate::service::MemberList;

/// Places looked at beyond two rounds before giving up: whoever has the highest weight is found within two rounds, unless it
/// has too many connections, in which case the search for the others may end here.
const BEYOND: u32 = 64;

/// The next member that reaches the threshold.
#[inline(always)]
pub(super) fn choose<P: Platform>(members: &Members<'_, P>, list: &MemberList) -> Option<u32> {
    let maximum = list.maximum.load(order::PLAIN);
    if maximum == 0 {
        return None;
    }
    // Two CPUs at once would spoil the order, not more.
    let locked = lock(members.platform, &list.lock);
    let chosen = step(members, list, maximum);
    if locked {
        list.lock.store(0, order::PUBLISH);
    }
    chosen
}

#[inline(always)]
fn step<P: Platform>(members: &Members<'_, P>, list: &MemberList, maximum: u32) -> Option<u32> {
    let rounds = members.length().wrapping_mul(2).wrapping_add(BEYOND);
    let last = members.place(list.cursor.load(order::PLAIN));
    let start = [last as u64, list.threshold.load(order::PLAIN) as u64, NOBODY as u64];
    let end = members.platform.repeat(rounds, start, |_, [place, threshold, chosen]| {
        let here = (*place as u32).wrapping_add(1);
        if members.is_past(here) {
            // The end of a round: the threshold falls, and from its lowest value goes back to the highest.
            *place = members.before() as u64;
            let lower = (*threshold as u32).saturating_sub(list.step.load(order::PLAIN));
            *threshold = if lower > 0 { lower } else { maximum } as u64;
            return ControlFlow::Continue(());
        }
        *place = here as u64;
        match members.destination(here) {
            Some(destination) if (destination.eligible_weight() as u64) < *threshold => {
                return ControlFlow::Continue(());
            }
            // The threshold is at least 1.
            Some(_) => *chosen = here as u64,
            None => {}
        }
        ControlFlow::Break(())
    });
    let [place, threshold, chosen] = end;
    list.threshold.store(threshold as u32, order::PLAIN);
    list.cursor.store(place as u32, order::PLAIN);
    somebody(chosen)
}
