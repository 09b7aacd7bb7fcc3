//! Tunnels: the packet, less one hop, travels inside another IP packet.
//!
//! IPIP is sent at once. GUE and GRE put headers of their own between the two IP headers, and may
//! have a checksum over all of it: they take a step, and in the kernel a program, of their own.

mod gre;
mod gue;
mod outer;
mod sum;

use super::link;
use crate::cell::AtomicU32;
use crate::counters::Event;
use crate::destination::{Destination, Egress, Hop, Tunnel, tunnel};
use crate::frame::{Frame, Link};
use crate::ip::Ip;
use crate::order;
use crate::platform::{Platform, Verdict};
use crate::steps::{Step, drop_for};
use rlvs_packet::ipv4::Ipv4;
use rlvs_packet::ipv6::Ipv6;
use rlvs_packet::protocol;

/// Octets that the tunnel takes of what the route to the destination carries.
#[inline(always)]
pub(crate) fn overhead(destination: &Destination) -> u32 {
    let outer = if destination.family.load(order::PLAIN) == 6 { Ipv6::LENGTH } else { Ipv4::LENGTH };
    (outer + between(destination.tunnel())) as u32
}

/// Octets between the outer and the inner IP header.
#[inline(always)]
pub(crate) fn between(tunnel: Tunnel) -> usize {
    match tunnel.kind() {
        tunnel::GUE => gue::LENGTH,
        tunnel::GRE => gre::length(tunnel.has_checksum()),
        _ => 0,
    }
}

/// Sends the packet directly inside an IP packet (IPIP: RFC 2003, RFC 2473, RFC 4213).
#[inline(always)]
pub(super) fn send_ipip<P: Platform, F: Ip>(
    platform: &P,
    frame: &Frame,
    destination: &Destination,
    source: &[AtomicU32; 4],
    hop: &Hop,
) -> Option<Verdict> {
    let inherited = F::enter_tunnel(platform, frame)?;
    outer::put(platform, frame, inherited, destination, source, hop, (F::IN_TUNNEL, 0))?;
    Some(link::leave(platform, hop))
}

/// Sends a packet to the destination of this index through a tunnel: whole or, as it was found that it may be, in fragments.
#[inline(always)]
pub fn send<P: Platform, F: Ip>(platform: &P, link: Link, index: u32) -> Step {
    let Some(destination) = platform.destination(index) else {
        return drop_for(platform, Event::DestinationGone);
    };
    // Another way, maybe, than the one that the packet was found to fit.
    let (egress, source) = destination.way();
    let hop = egress.hop();
    if hop.interface == 0 || hop.interface == Egress::HERE {
        return drop_for(platform, Event::Unresolved);
    }
    let mtu = egress.mtu.load(order::PLAIN);
    match wrap::<P, F>(platform, link, destination, source, &hop) {
        Some(length) if length + overhead(destination) > mtu => {
            link::leave_in_fragments(platform, &hop, mtu, true)
        }
        Some(_) => Step::Done(link::leave(platform, &hop)),
        None => drop_for(platform, Event::NoRoom),
    }
}

/// The length of what is inside.
#[inline(always)]
fn wrap<P: Platform, F: Ip>(
    platform: &P,
    link: Link,
    destination: &Destination,
    source: &[AtomicU32; 4],
    hop: &Hop,
) -> Option<u32> {
    let (frame, tuple) = F::parse(platform, link)?;
    let inherited = F::enter_tunnel(platform, &frame)?;
    let tunnel = destination.tunnel();
    let sum = if tunnel.has_checksum() { Some(sum::of_packet(platform, &frame, &tuple)?) } else { None };
    let room = between(tunnel);
    let number = match tunnel.kind() {
        tunnel::GUE => protocol::UDP,
        tunnel::GRE => protocol::GRE,
        _ => F::IN_TUNNEL,
    };
    let offset = outer::put(platform, &frame, inherited, destination, source, hop, (number, room))?;
    if number == protocol::GRE {
        gre::write::<P, F>(platform, offset, sum)?;
    }
    if number != protocol::UDP {
        return Some(frame.length);
    }
    let ports = [gue::source_port(F::hash(platform.config()?, &tuple) as u32), tunnel.port()];
    let sum = sum.map(|inside| sum::of_addresses(source, destination) + inside as u64);
    gue::write::<P, F>(platform, offset, ports, frame.length as u16 + room as u16, sum)?;
    Some(frame.length)
}
