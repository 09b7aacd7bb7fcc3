//! Least connection (`lc`): the member with the smallest overhead.

use super::{MEMBERS_MAX, Members};
use crate::platform::Platform;

/// The eligible member with the fewest connections, an active one counting as much as 256 others.
#[inline(always)]
pub(super) fn choose<P: Platform>(members: &Members<'_, P>) -> Option<u32> {
    let mut best = None;
    let mut least = 0;
    let mut place = members.first;
    let mut i = 0;
    while i < MEMBERS_MAX {
        if members.is_past(place) {
            break;
        }
        let (weight, overhead) = members.weight_and_overhead(place);
        if weight > 0 && (best.is_none() || overhead < least) {
            best = Some(place);
            least = overhead;
        }
        place = place.wrapping_add(1);
        i += 1;
    }
    best
}
