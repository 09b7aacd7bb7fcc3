//! Defence against floods: what the switch does of it. When it does so is the director's decision.

use crate::order;
use crate::platform::Platform;

/// Whether a packet that would open a connection is the one in `drop_rate` that is dropped (IPVS's `drop_packet`).
#[inline(always)]
pub(crate) fn takes_one<P: Platform>(platform: &P) -> bool {
    let Some(config) = platform.config() else { return false };
    let settings = &config.settings;
    let rate = settings.drop_rate.load(order::PLAIN);
    if rate == 0 {
        return false;
    }
    let left = platform.add(&settings.drop_counter, 1u32.wrapping_neg()).wrapping_sub(1);
    if left as i32 > 0 {
        return false;
    }
    settings.drop_counter.store(rate, order::PLAIN);
    true
}
