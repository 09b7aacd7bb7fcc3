//! Weighted overflow (`ovf`): one member serves as many connections as its weight says, the next one those beyond.

use super::Members;
use super::weighted_failover::heaviest;
use crate::order;
use crate::platform::Platform;

/// The member with the highest weight among those with no more active connections than their weight.
#[inline(always)]
pub(super) fn choose<P: Platform>(members: &Members<'_, P>) -> Option<u32> {
    heaviest(members, |destination| {
        let weight = destination.eligible_weight();
        if destination.active.load(order::PLAIN) <= weight { weight } else { 0 }
    })
}
