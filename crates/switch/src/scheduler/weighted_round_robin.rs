//! Weighted round robin (`wrr`): the members in turn, the heavier ones more often.
//!
//! A threshold falls from the highest weight in steps of the weights' greatest common divisor, and round by round all
//! members that reach it are chosen: weights 4, 3, 2 give A A B A B C A B C.

use core::ops::ControlFlow;

use super::{Members, lock};
use crate::order;
use crate::platform::Platform;
use crate::service::{CURSOR_START, MemberList};

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
    let mut place = members.place(list.cursor.load(order::PLAIN));
    let mut threshold = list.threshold.load(order::PLAIN);
    let mut chosen = None;
    members.platform.repeat(members.length().wrapping_mul(2).wrapping_add(BEYOND), |_| {
        place = place.wrapping_add(1);
        if members.is_past(place) {
            // The end of a round: the threshold falls, and from its lowest value goes back to the highest.
            place = members.place(CURSOR_START);
            let lower = threshold.saturating_sub(list.step.load(order::PLAIN));
            threshold = if lower > 0 { lower } else { maximum };
            return ControlFlow::Continue(());
        }
        match members.destination(place) {
            Some(destination) if destination.eligible_weight() < threshold => {
                return ControlFlow::Continue(());
            }
            // The threshold is at least 1.
            Some(_) => chosen = Some(place),
            None => {}
        }
        ControlFlow::Break(())
    });
    list.threshold.store(threshold, order::PLAIN);
    list.cursor.store(members.cursor(place), order::PLAIN);
    chosen
}
