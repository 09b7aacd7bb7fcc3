//! One-packet scheduling: the packet is sent on, and no connection is kept.

use super::create::forward_entry;
use super::{Step, drop_for, handed_over};
use crate::counters::Event;
use crate::forward;
use crate::frame::Link;
use crate::ip::Ip;
use crate::platform::{Platform, Verdict};

steps! {
    /// Sends the packet to the chosen destination.
    once, once6 => once_in;
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
    forward::to_destination(platform, &frame, &entry.target(), destination)
}
