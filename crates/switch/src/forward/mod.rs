//! Forwarding methods: what becomes of a packet on its way to a destination, or back.

mod link;
mod nat;
pub(crate) mod tunnel;

use crate::config::Config;
use crate::counters::Event;
use crate::destination::tunnel::IPIP;
use crate::destination::{Destination, Egress, Hop, method};
use crate::frame::{Frame, Link};
use crate::ip::Ip;
use crate::ip::Side;
use crate::order;
use crate::platform::{Platform, Verdict};
use crate::steps::{Step, encapsulate_for, reject_for};
use crate::table::lookup::Found;
use crate::table::{Entry, slot};
use rlvs_packet::icmp::Cause;

/// Sends a client's packet to its destination.
#[inline(always)]
pub fn to_destination<P: Platform, F: Ip>(
    platform: &P,
    frame: &Frame,
    entry: &Entry<F>,
    destination: &Destination,
) -> Step {
    let egress = destination.egress();
    let method = entry.method as u32;
    if method == method::LOCAL {
        return Step::Done(Verdict::Pass);
    }
    match egress.interface.load(order::PLAIN) {
        Egress::HERE if method != method::MASQUERADE => return Step::Done(Verdict::Pass),
        0 | Egress::HERE => return Step::Done(drop(platform, Event::Unresolved)),
        _ => {}
    }
    if frame.hops <= 1 {
        platform.count(Event::TimeExceeded);
        return reject_for(platform, Cause::TimeExceeded);
    }
    let overhead = if method == method::TUNNEL { tunnel::overhead(destination) } else { 0 };
    let mtu = egress.mtu.load(order::PLAIN).saturating_sub(overhead);
    if frame.length > mtu {
        platform.count(Event::TooBig);
        return reject_for(platform, Cause::TooBig(mtu.max(F::MTU_MIN)));
    }
    if method == method::TUNNEL && destination.tunnel().kind() != IPIP {
        return encapsulate_for::<P, F>(platform, entry.destination);
    }
    let hop = egress.hop();
    let verdict = match method {
        method::MASQUERADE => {
            nat::rewrite::<P, F>(platform, frame, Side::Destination, entry.address, entry.port)
                .and_then(|()| link::send::<P, F>(platform, frame, &hop))
        }
        method::TUNNEL => tunnel::send_ipip::<P, F>(platform, frame, destination, egress, &hop),
        _ => F::decrement_hops(platform, frame).and_then(|()| link::send::<P, F>(platform, frame, &hop)),
    };
    Step::Done(verdict.unwrap_or_else(|| drop(platform, Event::NoRoom)))
}

/// Sends a real server's reply to the client, with the VIP as its source.
#[inline(always)]
pub fn to_client<P: Platform, F: Ip>(
    platform: &P,
    config: &Config,
    frame: &Frame,
    found: &Found<'_, F>,
    entry: &Entry<F>,
) -> Verdict {
    if frame.hops <= 1 {
        return drop(platform, Event::TimeExceeded);
    }
    let Some(hop) = way_to_client(platform, config, frame, found, entry) else {
        return drop(platform, Event::Contended);
    };
    let verdict = nat::rewrite::<P, F>(platform, frame, Side::Source, entry.address, entry.port)
        .and_then(|()| link::send::<P, F>(platform, frame, &hop));
    verdict.unwrap_or_else(|| drop(platform, Event::NoRoom))
}

/// The hop that the entry holds, looked up anew if routes or neighbours have changed since; `None` if the entry has gone
/// meanwhile.
#[inline(always)]
fn way_to_client<P: Platform, F: Ip>(
    platform: &P,
    config: &Config,
    frame: &Frame,
    found: &Found<'_, F>,
    entry: &Entry<F>,
) -> Option<Hop> {
    if entry.hop.generation() == config.generation() {
        return Some(entry.hop);
    }
    let link = Link { l3: frame.l3, vlan: frame.vlan, multicast: false };
    look_up_way::<P, F>(platform, found.index, link.pack());
    found.slot.entry(found.meta).map(|entry| entry.hop)
}

/// Looks the way to the client up, for the reply entry in this slot. Where the kernel has no answer, it stays the way that
/// the request came. A BPF function of its own, for what it takes of the stack.
#[inline(never)]
fn look_up_way<P: Platform, F: Ip>(platform: &P, index: u32, link: u32) -> u32 {
    let Some((frame, tuple)) = F::parse(platform, Link::unpack(link)) else { return 0 };
    let (Some(config), Some(slot)) = (platform.config(), slot::<P, F>(platform, index)) else { return 0 };
    let Some(entry) = slot.entry(slot.meta()) else { return 0 };
    let hop = match F::route(platform, entry.address, tuple.destination, frame.length as u16) {
        Some(hop) => hop,
        None => {
            platform.count(Event::ReplyMirrored);
            entry.hop
        }
    };
    slot.store_hop(&hop.in_generation(config.generation()));
    1
}

#[inline(always)]
fn drop<P: Platform>(platform: &P, event: Event) -> Verdict {
    platform.count(event);
    Verdict::Drop
}
