//! Weighted failover (`fo`): one member serves all, the next one when that fails.

use core::ops::ControlFlow;

use super::Members;
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
    members.each(|place, destination| {
        let weight = weight(destination);
        if weight > highest {
            best = Some(place);
            highest = weight;
        }
        ControlFlow::Continue(())
    })?;
    best
}
