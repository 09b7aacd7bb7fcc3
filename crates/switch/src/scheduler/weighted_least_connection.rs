//! Weighted least connection (`wlc`): the member with the smallest overhead for its weight.

use core::ops::ControlFlow;

use super::Members;
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
    let mut best = None;
    let mut best_load = 0u64;
    let mut best_share = 0u64;
    members.each(|place, destination| {
        let weight = destination.eligible_weight() as u64;
        let (load, share) = (load(destination), share(weight));
        // Loads stay below 2^41 and weights below 2^31: with more than 2^33 connections' worth of load the product
        // could wrap, as it does in IPVS.
        if weight > 0 && (best.is_none() || best_load.wrapping_mul(share) > load.wrapping_mul(best_share)) {
            best = Some(place);
            best_load = load;
            best_share = share;
        }
        ControlFlow::Continue(())
    })?;
    best
}
