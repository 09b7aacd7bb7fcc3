//! One-packet scheduling: the packet is sent on, and no connection is kept.

use super::create::forward_entry;
use super::{Step, drop_for, handed_over};
use crate::counters::Event;
use crate::forward;
use crate::frame::{self, Link, Network};
use crate::ip::Ip;
use crate::platform::{Platform, Verdict};
use crate::table::{V4, V6};

/// Sends the packet to the chosen destination.
#[inline(always)]
pub fn once<P: Platform>(platform: &P) -> Step {
    match frame::network(platform) {
        Network::V4(link) => once_in::<P, V4>(platform, link),
        _ => Step::Done(Verdict::Pass),
    }
}

/// The same for IPv6.
#[inline(always)]
pub fn once6<P: Platform>(platform: &P) -> Step {
    match frame::network(platform) {
        Network::V6(link) => once_in::<P, V6>(platform, link),
        _ => Step::Done(Verdict::Pass),
    }
}

#[inline(always)]
fn once_in<P: Platform, F: Ip>(platform: &P, link: Link) -> Step {
    let Some((frame, tuple)) = F::parse(platform, link) else { return Step::Done(Verdict::Pass) };
    let chosen = handed_over(platform, |words| &words.destination);
    let Some(destination) = platform.destination(chosen) else {
        return drop_for(platform, Event::DestinationGone);
    };
    if let Some(counters) = platform.counters(chosen) {
        counters.connection();
        counters.packet_in(frame.length);
    }
    let entry = forward_entry::<P, F>(platform, destination, chosen, &tuple);
    forward::to_destination(platform, &frame, &entry, destination)
}
