//! Errors to the sender of a packet that cannot go on.

use super::{Step, handed_over, watch};
use crate::counters::Event;
use crate::frame::{self, Frame, Link, Network};
use crate::icmp;
use crate::ip::Ip;
use crate::order;
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
    if answered == 0 {
        platform.count(Event::Unanswered);
        return Step::Done(Verdict::Drop);
    }
    Step::Done(Verdict::Transmit)
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
    if !may_be_told(platform, &frame) {
        return 0;
    }
    icmp::answer4(platform, &frame, Cause::unpack(cause).in_icmp()).is_some() as u32
}

/// The same for IPv6.
#[inline(never)]
fn reject6<P: Platform>(platform: &P, link: u32, cause: u32) -> u32 {
    let Some((frame, _)) = V6::parse(platform, Link::unpack(link)) else { return 0 };
    if !may_be_told(platform, &frame) {
        return 0;
    }
    icmp::answer6(platform, &frame, Cause::unpack(cause).in_icmpv6()).is_some() as u32
}

/// Whether an error may be sent about this packet: never about an ICMP error or a later fragment (RFC 1122, 3.2.2; RFC 4443,
/// 2.4), and not about too many in a short time.
#[inline(always)]
fn may_be_told<P: Platform>(platform: &P, frame: &Frame) -> bool {
    if !frame.content.has_transport() {
        return false;
    }
    let (Some(config), Some(cpu)) = (platform.config(), platform.handover()) else { return false };
    let now = platform.now().0;
    let sent = if cpu.errors_tick.load(order::PLAIN) == now { cpu.errors.load(order::PLAIN) } else { 0 };
    if sent >= config.errors_per_tick.load(order::PLAIN) {
        platform.count(Event::ErrorSuppressed);
        return false;
    }
    cpu.errors_tick.store(now, order::PLAIN);
    cpu.errors.store(sent + 1, order::PLAIN);
    true
}
