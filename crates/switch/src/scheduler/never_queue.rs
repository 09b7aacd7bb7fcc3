//! Never queue (`nq`): an idle member, even if a busy one is faster.

use super::{MEMBERS_MAX, Members, shortest_expected_delay};
use crate::order;
use crate::platform::Platform;

/// The first eligible member without active connections; if there is none, that of the shortest expected delay.
#[inline(always)]
pub(super) fn choose<P: Platform>(members: &Members<'_, P>) -> Option<u32> {
    match first_idle(members) {
        Some(place) => Some(place),
        None => shortest_expected_delay::choose(members),
    }
}

#[inline(always)]
fn first_idle<P: Platform>(members: &Members<'_, P>) -> Option<u32> {
    let mut place = members.first;
    let mut i = 0;
    while i < MEMBERS_MAX {
        if members.is_past(place) {
            break;
        }
        let destination = members.destination(place)?;
        if destination.eligible_weight() > 0 && destination.active.load(order::PLAIN) == 0 {
            return Some(place);
        }
        place = place.wrapping_add(1);
        i += 1;
    }
    None
}
