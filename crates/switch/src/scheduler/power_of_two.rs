//! Power of two choices (`twos`): two members drawn by lot, and the less loaded one of them.

use core::ops::ControlFlow;

use super::{Members, NOBODY, somebody};
use crate::platform::Platform;

/// The better one of two eligible members that are drawn with chances by weight.
#[inline(always)]
pub(super) fn choose<P: Platform>(members: &Members<'_, P>) -> Option<u32> {
    let total = total_weight(members)?;
    let (one, other) = (draw(members, total)?, draw(members, total)?);
    let (first, second) = (members.destination(one)?, members.destination(other)?);
    let weighted = |load: u64, weight: u32| load.wrapping_mul(weight as u64);
    let second_is_better = weighted(first.overhead(), second.eligible_weight())
        > weighted(second.overhead(), first.eligible_weight());
    Some(if second_is_better { other } else { one })
}

/// `None` if no member is eligible.
#[inline(always)]
fn total_weight<P: Platform>(members: &Members<'_, P>) -> Option<u64> {
    let [total] = members.each([0], |_, destination, [total]| {
        *total = total.wrapping_add(destination.eligible_weight() as u64);
        ControlFlow::Continue(())
    });
    if total > 0 { Some(total) } else { None }
}

/// The eligible member at which a lot from 0 to `total` is used up; the last one if weights have just become smaller.
#[inline(always)]
fn draw<P: Platform>(members: &Members<'_, P>, total: u64) -> Option<u32> {
    let random = (members.platform.random() as u64) << 32 | members.platform.random() as u64;
    let lot = random.checked_rem(total.wrapping_add(1))?;
    let [drawn, _] = members.each([NOBODY as u64, lot], |place, destination, [drawn, left]| {
        let weight = destination.eligible_weight() as u64;
        if weight == 0 {
            return ControlFlow::Continue(());
        }
        *drawn = place as u64;
        let is_used_up = *left <= weight;
        *left = left.wrapping_sub(weight);
        if is_used_up { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    somebody(drawn)
}
