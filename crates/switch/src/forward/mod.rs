//! Forwarding methods: what becomes of a packet on its way to a destination, or back.

pub(crate) mod link;
mod nat;
pub(crate) mod tunnel;

use crate::config::Config;
use crate::counters::Event;
use crate::destination::tunnel::IPIP;
use crate::destination::{Destination, Egress, Hop, method};
use crate::frame::Frame;
use crate::ip::Ip;
use crate::ip::Side;
use crate::order;
use crate::platform::{Platform, Verdict};
use crate::steps::{Step, cut_for, drop_for, encapsulate_for, fit_for, reject_for};
use crate::sync::{Change, change};
use crate::table::lookup::Found;
use crate::table::{Meta, Slot, Target, Tuple, V4, slot, template};
use rlvs_packet::icmp::Cause;
use rlvs_packet::protocol;

/// Sends a client's packet to its destination.
#[inline(always)]
pub fn to_destination<P: Platform, F: Ip>(
    platform: &P,
    frame: &Frame,
    target: &Target<F>,
    destination: &Destination,
) -> Step {
    let (egress, source) = destination.way();
    let method = target.method as u32;
    if method == method::LOCAL {
        return Step::Done(Verdict::Pass);
    }
    let interface = egress.interface.load(order::PLAIN);
    let here = interface == Egress::HERE;
    if here && method != method::MASQUERADE {
        return Step::Done(Verdict::Pass);
    }
    if interface == 0 {
        return drop_for(platform, Event::Unresolved);
    }
    if frame.hops <= !here as u8 {
        platform.count(Event::TimeExceeded);
        return reject_for(platform, Cause::TimeExceeded);
    }
    let overhead = if method == method::TUNNEL { tunnel::overhead(destination) } else { 0 };
    let mtu = egress.mtu.load(order::PLAIN).saturating_sub(overhead);
    let is_large = frame.length > mtu && !here;
    if is_large && !may_be_cut::<P, F>(platform, frame, method) {
        platform.count(Event::TooBig);
        return reject_for(platform, Cause::TooBig(mtu.max(F::MTU_MIN)));
    }
    if method == method::TUNNEL && (is_large || destination.tunnel().kind() != IPIP) {
        return encapsulate_for::<P, F>(platform, target.destination);
    }
    if is_large {
        return cut_for(platform, target);
    }
    let hop = egress.hop();
    let verdict = match method {
        method::MASQUERADE => {
            let to = (Side::Destination, target.address, target.port);
            if here {
                // It has arrived. Its answers come by way of `steps::local_out`.
                return match translate::<P, F>(platform, frame, to, true) {
                    Some(()) => Step::Done(Verdict::Pass),
                    None => drop_for(platform, Event::NoRoom),
                };
            }
            let translated = translate::<P, F>(platform, frame, to, false);
            translated.and_then(|()| link::send::<P, F>(platform, frame, &hop))
        }
        method::TUNNEL => tunnel::send_ipip::<P, F>(platform, frame, destination, source, &hop),
        _ => F::decrement_hops(platform, frame).and_then(|()| link::send::<P, F>(platform, frame, &hop)),
    };
    verdict.map_or_else(|| drop_for(platform, Event::NoRoom), Step::Done)
}

/// Sends a client's packet that is too large for the way to its destination there in fragments: by NAT to this address and port, or by
/// direct routing.
#[inline(always)]
pub fn in_fragments<P: Platform>(
    platform: &P,
    frame: &Frame,
    destination: &Destination,
    method: u32,
    (address, port): (u32, [u8; 2]),
) -> Step {
    let egress = destination.egress();
    let (hop, mtu) = (egress.hop(), egress.mtu.load(order::PLAIN));
    // Another way, maybe, than the one that the packet was found too large for.
    if hop.interface == 0 || hop.interface == Egress::HERE {
        return drop_for(platform, Event::Unresolved);
    }
    let rewritten = match method {
        method::MASQUERADE => nat::rewrite::<P, V4>(platform, frame, Side::Destination, address, port),
        _ => V4::decrement_hops(platform, frame),
    };
    match rewritten.and_then(|()| link::send::<P, V4>(platform, frame, &hop)) {
        Some(_) => link::leave_in_fragments(platform, &hop, mtu, false),
        None => drop_for(platform, Event::NoRoom),
    }
}

/// Whether a packet that is too large for its way is sent in fragments, rather than answered with an error.
#[inline(always)]
fn may_be_cut<P: Platform, F: Ip>(platform: &P, frame: &Frame, method: u32) -> bool {
    let discovers =
        || platform.config().is_none_or(|config| config.settings.pmtu_disc.load(order::PLAIN) != 0);
    F::NUMBER == 4 && ((method == method::TUNNEL && !discovers()) || F::may_be_cut(platform, frame))
}

/// Sends a real server's reply to the client, with the VIP as its source.
#[inline(always)]
pub fn to_client<P: Platform, F: Ip>(
    platform: &P,
    config: &Config,
    frame: &Frame,
    found: &Found<'_, F>,
    (target, hop): (&Target<F>, Hop),
) -> Step {
    // From a server on the director itself: nobody passes it on here.
    let from_here = platform.ingress() == config.local_in.load(order::PLAIN);
    if frame.hops <= !from_here as u8 {
        return drop_for(platform, Event::TimeExceeded);
    }
    if frame.length > config.least_mtu.load(order::PLAIN) {
        return fit_for::<P, F>(platform, found.index);
    }
    to_client_by_way(platform, config, frame, found, (target, hop), None)
}

/// Sends a reply that may be too large for the way to the client: whole, in fragments, or not, and its sender is told.
#[inline(always)]
pub fn to_client_if_it_fits<P: Platform, F: Ip>(
    platform: &P,
    config: &Config,
    frame: &Frame,
    found: &Found<'_, F>,
    (target, hop): (&Target<F>, Hop),
    client: F::Address,
) -> Step {
    let narrow = F::narrow(platform, target.address, client, frame.length as u16);
    if let Some(mtu) = narrow
        && !F::may_be_cut(platform, frame)
    {
        platform.count(Event::TooBig);
        return reject_for(platform, Cause::TooBig(mtu.max(F::MTU_MIN)));
    }
    to_client_by_way(platform, config, frame, found, (target, hop), narrow)
}

/// Sends a reply to the client; with an MTU, in fragments of that size.
#[inline(always)]
fn to_client_by_way<P: Platform, F: Ip>(
    platform: &P,
    config: &Config,
    frame: &Frame,
    found: &Found<'_, F>,
    (target, hop): (&Target<F>, Hop),
    narrow: Option<u32>,
) -> Step {
    let hop = way_to_client(platform, config, found, hop);
    if hop.interface == 0 {
        return drop_for(platform, Event::Unresolved);
    }
    let from = (Side::Source, target.address, target.port);
    let from_here = platform.ingress() == config.local_in.load(order::PLAIN);
    let translated = translate::<P, F>(platform, frame, from, from_here);
    match (translated.and_then(|()| link::send::<P, F>(platform, frame, &hop)), narrow) {
        (None, _) => drop_for(platform, Event::NoRoom),
        (Some(verdict), None) => Step::Done(verdict),
        (Some(_), Some(mtu)) => link::leave_in_fragments(platform, &hop, mtu, false),
    }
}

/// Replaces an address and its port, and takes one hop off, unless the packet is to keep them.
#[inline(always)]
fn translate<P: Platform, F: Ip>(
    platform: &P,
    frame: &Frame,
    (side, address, port): (Side, F::Address, [u8; 2]),
    keep_hops: bool,
) -> Option<()> {
    nat::rewrite::<P, F>(platform, frame, side, address, port)?;
    if keep_hops { F::set_hops(platform, frame, frame.hops) } else { Some(()) }
}

/// Sends a packet on to whom it is addressed to: the kernel does, where the way is not known.
#[inline(always)]
pub fn to_receiver<P: Platform, F: Ip>(platform: &P, frame: &Frame, tuple: &Tuple<F>) -> Step {
    if frame.hops <= 1 {
        platform.count(Event::TimeExceeded);
        return reject_for(platform, Cause::TimeExceeded);
    }
    let Some(hop) = F::route(platform, tuple.source, tuple.destination, frame.length as u16) else {
        return Step::Done(Verdict::Pass);
    };
    let verdict = F::decrement_hops(platform, frame).and_then(|()| link::send::<P, F>(platform, frame, &hop));
    verdict.map_or_else(|| drop_for(platform, Event::NoRoom), Step::Done)
}

/// Sends a real server's packet to the client as if it answered a packet of this tuple, without an entry.
#[inline(always)]
pub fn once_to_client<P: Platform, F: Ip>(platform: &P, frame: &Frame, request: Tuple<F>) -> Step {
    if frame.hops <= 1 {
        return drop_for(platform, Event::TimeExceeded);
    }
    let length = frame.length as u16;
    let Some(hop) = F::route(platform, request.destination, request.source, length) else {
        return drop_for(platform, Event::Unresolved);
    };
    let verdict = nat::rewrite::<P, F>(platform, frame, Side::Source, request.destination, request.ports[1])
        .and_then(|()| link::send::<P, F>(platform, frame, &hop));
    verdict.map_or_else(|| drop_for(platform, Event::NoRoom), Step::Done)
}

/// The hop that the entry held, looked up anew if routes or neighbours have changed since.
#[inline(always)]
fn way_to_client<P: Platform, F: Ip>(platform: &P, config: &Config, found: &Found<'_, F>, hop: Hop) -> Hop {
    if hop.generation() == config.generation() {
        return hop;
    }
    look_up_way::<P, F>(platform, found.index, found.meta.0);
    found.slot.hop(found.meta).unwrap_or(hop)
}

/// Puts the way that the kernel has now into the reply entry in the slot `index`, found with this `meta`. Where
/// the kernel has no answer, the way that the request came stays. Scalars only, for it is a BPF function of its own:
/// its callers' stack has no room for the query.
#[inline(never)]
fn look_up_way<P: Platform, F: Ip>(platform: &P, index: u32, meta: u32) -> u32 {
    let (Some(config), Some(place)) = (platform.config(), slot::<P, F>(platform, index)) else { return 0 };
    let generation = config.generation();
    let (Some(tuple), Some(entry)) = (place.tuple(Meta(meta)), place.entry(Meta(meta))) else { return 0 };
    if tuple.protocol == protocol::UDP
        && let Some(template) = slot::<P, F>(platform, entry.peer).and_then(Slot::controller)
    {
        // The first reply of a connection always comes this way.
        template::assure::<P, F>(platform, template);
    }
    let hop = match F::route(platform, entry.address, tuple.destination, 0) {
        Some(hop) => hop,
        None => {
            platform.count(Event::ReplyMirrored);
            // Read again, not kept meanwhile: the stack is short.
            let Some(entry) = place.entry(Meta(meta)) else { return 0 };
            if entry.hop.interface == 0 {
                // There may be one with the next packet, if the director has seen to it.
                if config.has_daemon() {
                    platform.tell(Change::new::<F>(index, change::NO_WAY));
                }
                return 0;
            }
            entry.hop
        }
    };
    place.store_hop(&hop.in_generation(generation));
    1
}
