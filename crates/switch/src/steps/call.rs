//! Calls of SIP: what service and real server a datagram is for is known, and its Call-ID is to be.

use super::seen::{Seen, seen};
use super::version::next;
use super::{Program, Step, drop_for, hand_over, handed_over};
use crate::counters::Event;
use crate::forward;
use crate::frame::Link;
use crate::order;
use crate::platform::{Platform, Verdict};
use crate::sip;
use crate::table::template;

steps! {
    /// Reads the Call-ID, which stands for the client from then on.
    call, call6 => call_in;
    /// Sends a real server's datagram to the client as the service's, and remembers nothing.
    once_back, once_back6 => once_back_in;
}

#[inline(always)]
fn call_in<P: Platform, F: Seen>(platform: &P, _: Link) -> Step {
    let payload = handed_over(platform, |words| &words.payload);
    if !sip::read(platform, payload & 0xffff, payload >> 16) {
        if super::is_from_server(platform) {
            // It may be anything that a real server sends: the kernel's.
            return Step::Done(Verdict::Pass);
        }
        return drop_for(platform, Event::NoCallId);
    }
    let hash = sip::hash(platform, handed_over(platform, |words| &words.service));
    hand_over(platform, |words| &words.call_hash[0], hash as u32);
    hand_over(platform, |words| &words.call_hash[1], (hash >> 32) as u32);
    next::<F>(Program::Persist, Program::Persist6)
}

#[inline(always)]
fn once_back_in<P: Platform, F: Seen>(platform: &P, link: Link) -> Step {
    let Some((request, _)) = seen::<P, F>(platform) else { return Step::Done(Verdict::Pass) };
    let Some((frame, _)) = F::parse(platform, link) else { return Step::Done(Verdict::Pass) };
    let Some(handover) = platform.handover() else { return Step::Done(Verdict::Pass) };
    if let Some(counters) = platform.counters(handover.destination.load(order::PLAIN)) {
        counters.connection();
        counters.packet_out(frame.length);
    }
    template::assure::<P, F>(platform, handover.template.load(order::PLAIN));
    forward::once_to_client(platform, &frame, request)
}
