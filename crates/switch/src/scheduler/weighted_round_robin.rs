//! Weighted round robin (`wrr`): the members in turn, the heavier ones more often.
//!
//! A threshold falls from the highest weight in steps of the weights' greatest common divisor, and round by round all
//! members that reach it are chosen: weights 4, 3, 2 give A A B A B C A B C.

use super::{Members, lock};
use crate::order;
use crate::platform::Platform;
use crate::service::{CURSOR_START, MemberList};

/// Members looked at before giving up: whoever has the highest weight is found within two rounds, unless it has too
/// many connections, in which case the search for the others may end here.
const STEPS_MAX: u32 = 2 * super::MEMBERS_MAX + 64;

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

/// The threshold stays in the list, where it is read anew for each member: a number that the verifier sees fall, it
/// follows through all its values.
#[inline(always)]
fn step<P: Platform>(members: &Members<'_, P>, list: &MemberList, maximum: u32) -> Option<u32> {
    let mut place = members.place(list.cursor.load(order::PLAIN));
    let mut chosen = None;
    let mut i = 0;
    while i < STEPS_MAX {
        i += 1;
        place = place.wrapping_add(1);
        let threshold = list.threshold.load(order::PLAIN);
        if members.is_past(place) {
            // The end of a round: the threshold falls, and from its lowest value goes back to the highest.
            place = members.place(CURSOR_START);
            let lower = threshold.saturating_sub(list.step.load(order::PLAIN));
            list.threshold.store(if lower > 0 { lower } else { maximum }, order::PLAIN);
        } else if members.destination(place)?.eligible_weight() >= threshold {
            // The threshold is at least 1.
            chosen = Some(place);
            break;
        }
    }
    list.cursor.store(members.cursor(place), order::PLAIN);
    chosen
}
