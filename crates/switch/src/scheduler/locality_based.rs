//! Locality-based least connection (`lblc`), for caches: an address goes where it went before, unless that one has too
//! much to do.

use core::ops::ControlFlow;

use super::locality::Wanted;
use super::{Members, NOBODY};
use crate::order;
use crate::platform::Platform;

/// The index of the destination that serves the address, if it takes connections (if need be, above its threshold) and is not busy
/// while another one idles. Else weighted least connection chooses, and it [`remember`]s.
#[inline(always)]
pub(super) fn choose<P: Platform>(members: &Members<'_, P>, wanted: Wanted) -> Option<u32> {
    let platform = members.platform;
    let index = wanted.look(platform, |address, known| match (known, address.server(0)) {
        (true, Some(server)) => {
            address.touch(platform.now());
            server.index(platform)
        }
        _ => NOBODY,
    })?;
    let destination = platform.destination(index)?;
    let usable = destination.is_available() && destination.weight.load(order::PLAIN) > 0;
    if usable && !is_over(members, index) { Some(index) } else { None }
}

/// From now on this destination serves the address.
#[inline(always)]
pub(super) fn remember<P: Platform>(platform: &P, wanted: Wanted, chosen: u32) {
    let _busy = wanted.look(platform, |address, _| address.take(platform, wanted, chosen));
}

/// Whether it has more active connections than weight, and another member less than half as many as weight.
#[inline(always)]
pub(super) fn is_over<P: Platform>(members: &Members<'_, P>, index: u32) -> bool {
    let Some(destination) = members.platform.destination(index) else { return true };
    if destination.active.load(order::PLAIN) <= destination.weight.load(order::PLAIN) {
        return false;
    }
    let [is_other_idle] = members.each([0], |_, other, [is_other_idle]| {
        if other.active.load(order::PLAIN) as u64 * 2 >= other.weight.load(order::PLAIN) as u64 {
            return ControlFlow::Continue(());
        }
        *is_other_idle = 1;
        ControlFlow::Break(())
    });
    is_other_idle != 0
}
