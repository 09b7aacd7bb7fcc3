//! Packets that leave in fragments.

use super::{Step, drop_for, handed_over};
use crate::counters::Event;
use crate::forward;
use crate::frame::{Network, network};
use crate::ip::Ip;
use crate::platform::{Platform, Verdict};
use crate::table::V4;

/// Sends the packet to its destination. IPv6's are fragmented by their senders only.
#[inline(always)]
pub fn cut<P: Platform>(platform: &P) -> Step {
    let Network::V4(link) = network(platform) else { return Step::Done(Verdict::Pass) };
    let Some((frame, _)) = V4::parse(platform, link) else { return Step::Done(Verdict::Pass) };
    let Some(destination) = platform.destination(handed_over(platform, |words| &words.destination)) else {
        return drop_for(platform, Event::DestinationGone);
    };
    let method = handed_over(platform, |words| &words.method);
    let address = handed_over(platform, |words| &words.address);
    let port = handed_over(platform, |words| &words.port) as u16;
    forward::in_fragments(platform, &frame, destination, method, (address, port.to_ne_bytes()))
}
