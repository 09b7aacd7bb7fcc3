//! Round robin (`rr`): the members in turn.

use core::ops::ControlFlow;

use super::{CURSOR_TRIES, Members, NOBODY, somebody};
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
        if members.platform.exchange(&list.cursor, last, next) || tries == CURSOR_TRIES {
            return Some(next);
        }
    }
}

#[inline(always)]
fn next_eligible<P: Platform>(members: &Members<'_, P>, last: u32) -> Option<u32> {
    if members.length() == 0 {
        return None;
    }
    // Nearly always the next one is.
    let first = after(members, members.place(last));
    if members.destination(first)?.eligible_weight() != 0 {
        return Some(first);
    }
    let start = [first as u64, NOBODY as u64];
    let [_, next] = members.platform.repeat(members.length(), start, |_, [place, next]| {
        let here = after(members, *place as u32);
        *place = here as u64;
        match members.destination(here) {
            Some(destination) if destination.eligible_weight() == 0 => return ControlFlow::Continue(()),
            Some(_) => *next = here as u64,
            None => {}
        }
        ControlFlow::Break(())
    });
    somebody(next)
}

/// The place of the next member, eligible or not.
#[inline(always)]
fn after<P: Platform>(members: &Members<'_, P>, place: u32) -> u32 {
    let next = place.wrapping_add(1);
    if members.is_past(next) { members.first } else { next }
}
