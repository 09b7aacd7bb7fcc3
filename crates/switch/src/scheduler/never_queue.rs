//! Never queue (`nq`): an idle member, even if a busy one is faster.

use core::ops::ControlFlow;

use super::{Members, NOBODY, shortest_expected_delay, somebody};
use crate::order;
use crate::platform::Platform;

/// The first eligible member without active connections; if there is none, that of the shortest expected delay.
#[inline(always)]
pub(super) fn choose<P: Platform>(members: &Members<'_, P>) -> Option<u32> {
    match first_idle(members) {
        Some(place) => Some(place),
        None => shortest_expected_delay::choose(members),
    }
}

#[inline(always)]
fn first_idle<P: Platform>(members: &Members<'_, P>) -> Option<u32> {
    let [idle] = members.each([NOBODY as u64], |place, destination, [idle]| {
        if destination.eligible_weight() == 0 || destination.active.load(order::PLAIN) > 0 {
            return ControlFlow::Continue(());
        }
        *idle = place as u64;
        ControlFlow::Break(())
    });
    somebody(idle)
}
