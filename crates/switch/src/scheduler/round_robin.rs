//! Round robin (`rr`): the members in turn.

use super::{CURSOR_TRIES, MEMBERS_MAX, Members};
use crate::order;
use crate::platform::Platform;
use crate::service::MemberList;

/// The next eligible member after the one chosen last, the circle ending at that one itself.
#[inline(always)]
pub(super) fn choose<P: Platform>(members: &Members<'_, P>, list: &MemberList) -> Option<u32> {
    let mut tries = 0;
    loop {
        let last = list.cursor.load(order::PLAIN);
        let next = next_eligible(members, last)?;
        tries += 1;
        if members.platform.exchange(&list.cursor, last, members.cursor(next)) || tries == CURSOR_TRIES {
            return Some(next);
        }
    }
}

#[inline(always)]
fn next_eligible<P: Platform>(members: &Members<'_, P>, last: u32) -> Option<u32> {
    let mut place = members.place(last);
    // Where it comes from is hidden from the compiler, which would count down from the number of members instead of up to a
    // constant: to Linux 6.1's verifier, an endless loop.
    let mut seen = core::hint::black_box(members.first);
    let mut i = 0;
    while i < MEMBERS_MAX {
        if members.is_past(seen) {
            break;
        }
        i += 1;
        seen = seen.wrapping_add(1);
        place = place.wrapping_add(1);
        if members.is_past(place) {
            place = members.first;
        }
        if members.destination(place)?.eligible_weight() > 0 {
            return Some(place);
        }
    }
    None
}
