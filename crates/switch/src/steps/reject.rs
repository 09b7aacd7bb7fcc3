//! Errors to the sender of a packet that cannot go on.

use super::{Step, drop_for, handed_over, watch};
use crate::counters::Event;
use crate::frame::{self, Link, Network};
use crate::icmp;
use crate::ip::Ip;
use crate::platform::{Platform, Verdict};
use crate::table::{V4, V6};
use rlvs_packet::icmp::Cause;

/// Turns the packet into an ICMP error for its sender.
#[inline(always)]
pub fn reject<P: Platform>(platform: &P) -> Step {
    let cause = handed_over(platform, |words| &words.cause);
    watch::show(platform, event(Cause::unpack(cause)) as u32);
    let answered = match frame::network(platform) {
        Network::V4(link) => reject4(platform, link.pack(), cause),
        Network::V6(link) => reject6(platform, link.pack(), cause),
        Network::Other => 0,
    };
    if answered == 0 { drop_for(platform, Event::Unanswered) } else { Step::Done(Verdict::Transmit) }
}

/// What is counted for packets with this end.
#[inline(always)]
fn event(cause: Cause) -> Event {
    match cause {
        Cause::PortUnreachable => Event::NoDestination,
        Cause::TimeExceeded => Event::TimeExceeded,
        Cause::TooBig(_) => Event::TooBig,
    }
}

/// Whether (1) or not (0) the packet became an error; a number, for it is a BPF function of its own.
#[inline(never)]
fn reject4<P: Platform>(platform: &P, link: u32, cause: u32) -> u32 {
    let Some((frame, _)) = V4::parse(platform, Link::unpack(link)) else { return 0 };
    (icmp::reject4(platform, &frame, Cause::unpack(cause)) == Verdict::Transmit) as u32
}

/// The same for IPv6.
#[inline(never)]
fn reject6<P: Platform>(platform: &P, link: u32, cause: u32) -> u32 {
    let Some((frame, _)) = V6::parse(platform, Link::unpack(link)) else { return 0 };
    (icmp::reject6(platform, &frame, Cause::unpack(cause)) == Verdict::Transmit) as u32
}
