//! Weighted failover (`fo`): one member serves all, the next one when that fails.

use super::{MEMBERS_MAX, Members};
use crate::destination::Destination;
use crate::platform::Platform;

/// The eligible member with the highest weight.
#[inline(always)]
pub(super) fn choose<P: Platform>(members: &Members<'_, P>) -> Option<u32> {
    heaviest(members, Destination::eligible_weight)
}

/// The first member with the highest weight above 0, weights being as told.
#[inline(always)]
pub(super) fn heaviest<P: Platform>(
    members: &Members<'_, P>,
    weight: impl Fn(&Destination) -> u32,
) -> Option<u32> {
    let mut best = None;
    let mut highest = 0;
    let mut place = members.first;
    let mut i = 0;
    while i < MEMBERS_MAX {
        if members.is_past(place) {
            break;
        }
        let weight = weight(members.destination(place)?);
        if weight > highest {
            best = Some(place);
            highest = weight;
        }
        place = place.wrapping_add(1);
        i += 1;
    }
    best
}
