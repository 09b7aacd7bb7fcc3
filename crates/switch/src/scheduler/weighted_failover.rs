//! Weighted failover (`fo`): one member serves all, the next one when that fails.

use core::ops::ControlFlow;

use super::{Members, NOBODY, somebody};
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
    let [best, _] = members.each([NOBODY as u64, 0], |place, destination, [best, highest]| {
        let weight = weight(destination) as u64;
        if weight > *highest {
            (*best, *highest) = (place as u64, weight);
        }
        ControlFlow::Continue(())
    });
    somebody(best)
}
