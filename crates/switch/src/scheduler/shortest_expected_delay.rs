//! Shortest expected delay (`sed`): the member that will serve the connection soonest.

use super::Members;
use super::weighted_least_connection::least_loaded;
use crate::order;
use crate::platform::Platform;

/// The eligible member with the smallest (active connections + this one) / weight.
#[inline(always)]
pub(super) fn choose<P: Platform>(members: &Members<'_, P>) -> Option<u32> {
    least_loaded(members, |destination| destination.active.load(order::PLAIN) as u64 + 1, |weight| weight)
}
