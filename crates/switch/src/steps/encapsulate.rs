//! A packet for a destination behind a tunnel that takes a step of its own.

use super::{Step, handed_over};
use crate::forward::tunnel;
use crate::frame::Link;
use crate::ip::Ip;
use crate::platform::{Platform, Verdict};

steps! {
    /// Sends the packet through the tunnel.
    encapsulate, encapsulate6 => encapsulate_in;
}

#[inline(always)]
fn encapsulate_in<P: Platform, F: Ip>(platform: &P, link: Link) -> Step {
    tunnel::send::<P, F>(platform, link, handed_over(platform, |words| &words.destination))
}
