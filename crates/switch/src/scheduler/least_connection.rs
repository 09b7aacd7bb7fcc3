//! Least connection (`lc`): the member with the smallest overhead.

use super::Members;
use super::weighted_least_connection::least_loaded;
use crate::destination::Destination;
use crate::platform::Platform;

/// The eligible member with the fewest connections, an active one counting as much as 256 others.
#[inline(always)]
pub(super) fn choose<P: Platform>(members: &Members<'_, P>) -> Option<u32> {
    least_loaded(members, Destination::overhead, |_| 1)
}
