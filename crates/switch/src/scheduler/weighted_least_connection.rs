//! Weighted least connection (`wlc`): the member with the smallest overhead for its weight.

use core::ops::ControlFlow;

use super::{Members, NOBODY, somebody};
use crate::destination::Destination;
use crate::platform::Platform;

/// The eligible member with the smallest overhead / weight.
#[inline(always)]
pub(super) fn choose<P: Platform>(members: &Members<'_, P>) -> Option<u32> {
    least_loaded(members, Destination::overhead, |weight| weight)
}

/// The first eligible member with the smallest load / share, compared without dividing; a member's share follows from
/// its weight.
#[inline(always)]
pub(super) fn least_loaded<P: Platform>(
    members: &Members<'_, P>,
    load: impl Fn(&Destination) -> u64,
    share: impl Fn(u64) -> u64,
) -> Option<u32> {
    let none = [NOBODY as u64, 0, 0];
    let [best, ..] = members.each(none, |place, destination, [best, best_load, best_share]| {
        let weight = destination.eligible_weight() as u64;
        let (load, share) = (load(destination), share(weight));
        // Loads stay below 2^41 and weights below 2^31: with more than 2^33 connections' worth of load the product
        // could wrap, as it does in IPVS.
        let is_less = best_load.wrapping_mul(share) > load.wrapping_mul(*best_share);
        if weight > 0 && (*best == NOBODY as u64 || is_less) {
            (*best, *best_load, *best_share) = (place as u64, load, share);
        }
        ControlFlow::Continue(())
    });
    somebody(best)
}
