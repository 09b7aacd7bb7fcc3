//! A packet for a destination behind a tunnel that takes a step of its own.

use super::{Step, handed_over};
use crate::forward::tunnel;
use crate::frame::{self, Network};
use crate::platform::{Platform, Verdict};
use crate::table::{V4, V6};

/// Sends the packet through the tunnel.
#[inline(always)]
pub fn encapsulate<P: Platform>(platform: &P) -> Step {
    let destination = handed_over(platform, |words| &words.destination);
    match frame::network(platform) {
        Network::V4(link) => tunnel::send::<P, V4>(platform, link, destination),
        _ => Step::Done(Verdict::Pass),
    }
}

/// The same for IPv6.
#[inline(always)]
pub fn encapsulate6<P: Platform>(platform: &P) -> Step {
    let destination = handed_over(platform, |words| &words.destination);
    match frame::network(platform) {
        Network::V6(link) => tunnel::send::<P, V6>(platform, link, destination),
        _ => Step::Done(Verdict::Pass),
    }
}
