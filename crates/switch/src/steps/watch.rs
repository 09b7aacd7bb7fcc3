//! Showing packets that are dropped to whoever watches: at no cost to all others, nor while nobody does.

use super::{Step, handed_over};
use crate::order;
use crate::platform::{Platform, Verdict};

/// Shows the packet and drops it.
#[inline(always)]
pub fn watch<P: Platform>(platform: &P) -> Step {
    show(platform, handed_over(platform, |words| &words.event));
    Step::Done(Verdict::Drop)
}

/// Whether somebody watches, and may see another packet.
#[inline(always)]
pub(super) fn is_on<P: Platform>(platform: &P) -> bool {
    platform.config().is_some_and(|config| config.samples.load(order::PLAIN) != 0)
}

/// Shows the packet if somebody watches.
#[inline(always)]
pub(super) fn show<P: Platform>(platform: &P, event: u32) {
    let Some(config) = platform.config() else { return };
    let left = config.samples.load(order::PLAIN);
    if left != 0 {
        // Two CPUs at once may show one packet more: the limit need not be exact.
        config.samples.store(left - 1, order::PLAIN);
        platform.show(event);
    }
}
