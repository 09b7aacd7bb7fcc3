//! Weighted least connection (`wlc`): the member with the smallest overhead for its weight.

use super::{MEMBERS_MAX, Members};
use crate::platform::Platform;

/// The eligible member with the smallest overhead / weight, compared without dividing.
#[inline(always)]
pub(super) fn choose<P: Platform>(members: &Members<'_, P>) -> Option<u32> {
    let mut best = None;
    let mut best_overhead = 0u64;
    let mut best_weight = 0u64;
    let mut place = members.first;
    let mut i = 0;
    while i < MEMBERS_MAX {
        if members.is_past(place) {
            break;
        }
        let (weight, overhead) = members.weight_and_overhead(place);
        let weight = weight as u64;
        // Overheads stay below 2^41 and weights below 2^31: with more than 2^33 connections' worth of load the
        // product could wrap, as it does in IPVS.
        if weight > 0
            && (best.is_none() || best_overhead.wrapping_mul(weight) > overhead.wrapping_mul(best_weight))
        {
            best = Some(place);
            best_overhead = overhead;
            best_weight = weight;
        }
        place = place.wrapping_add(1);
        i += 1;
    }
    best
}
