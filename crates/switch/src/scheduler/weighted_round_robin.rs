//! Weighted round robin (`wrr`): the members in turn, the heavier ones more often.
//!
//! A threshold falls from the highest weight in steps of the weights' greatest common divisor, and round by round all
//! members that reach it are chosen: weights 4, 3, 2 give A A B A B C A B C.

use super::{Members, lock};
use crate::order;
use crate::platform::Platform;
use crate::service::{CURSOR_START, MemberList};

/// Members looked at before giving up: whoever has the highest weight is found within two rounds, unless it is
/// above its threshold, in which case the search for the others may end here.
const STEPS_MAX: u32 = 2 * super::MEMBERS_MAX + 64;

/// The next member that reaches the threshold.
#[inline(always)]
pub(super) fn choose<P: Platform>(members: &Members<'_, P>, list: &MemberList) -> Option<u32> {
    let maximum = list.maximum.load(order::PLAIN);
    if maximum == 0 {
        return None;
    }
    let locked = lock(members.platform, list);
    let chosen = step(members, list, maximum);
    if locked {
        list.lock.store(0, order::PUBLISH);
    }
    chosen
}

#[inline(always)]
fn step<P: Platform>(members: &Members<'_, P>, list: &MemberList, maximum: u32) -> Option<u32> {
    let step = list.step.load(order::PLAIN).max(1);
    let mut threshold = list.threshold.load(order::PLAIN);
    let mut place = members.place(list.cursor.load(order::PLAIN));
    let mut rounds = 0;
    let mut chosen = None;
    let mut i = 0;
    while i < STEPS_MAX {
        i += 1;
        place = place.wrapping_add(1);
        if members.is_past(place) {
            // The end of a round. When the threshold has gone all the way down and nobody was found, nobody is.
            place = members.place(CURSOR_START);
            if threshold > step {
                threshold -= step;
            } else {
                threshold = maximum;
                rounds += 1;
                if rounds > 1 {
                    break;
                }
            }
            continue;
        }
        let weight = members.weight(place);
        if weight > 0 && weight >= threshold {
            chosen = Some(place);
            break;
        }
    }
    list.cursor.store(members.cursor(place), order::PLAIN);
    list.threshold.store(threshold, order::PLAIN);
    chosen
}
