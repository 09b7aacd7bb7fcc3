//! Tunnels: the packet, less one hop, travels inside another IP packet (IPIP: RFC 2003, RFC 2473, RFC 4213).

use super::link;
use crate::destination::{Destination, Egress, Hop};
use crate::frame::Frame;
use crate::ip::Ip;
use crate::order;
use crate::platform::{Platform, Verdict};
use rlvs_packet::ethernet;
use rlvs_packet::ipv4::{DONT_FRAGMENT, Ipv4};
use rlvs_packet::ipv6::Ipv6;
use zerocopy::network_endian::U16;

/// Sends the packet inside an IPv4 packet.
#[inline(always)]
pub(super) fn send_in_4<P: Platform, F: Ip>(
    platform: &P,
    frame: &Frame,
    destination: &Destination,
    egress: &Egress,
    hop: &Hop,
) -> Option<Verdict> {
    F::decrement_hops(platform, frame)?;
    let inherited = F::inherited(platform, frame)?;
    let may_fragment = inherited.fragment & DONT_FRAGMENT == 0;
    let outer = Ipv4 {
        version_length: Ipv4::PLAIN,
        tos: inherited.tos,
        total_length: U16::new((frame.length + Ipv4::LENGTH as u32) as u16),
        identification: U16::new(if may_fragment { inherited.identification } else { 0 }),
        fragment: U16::new(inherited.fragment),
        ttl: frame.hops.wrapping_sub(1),
        protocol: F::IN_TUNNEL,
        checksum: [0; 2],
        source: egress.source[0].load(order::PLAIN).to_ne_bytes(),
        destination: destination.address[0].load(order::PLAIN).to_ne_bytes(),
    };
    let offset = link::replace(platform, frame, hop, Ipv4::LENGTH, ethernet::IPV4)?;
    platform.write(offset, outer.with_checksum())?;
    Some(link::leave(platform, hop))
}

/// Sends the packet inside an IPv6 packet.
#[inline(always)]
pub(super) fn send_in_6<P: Platform, F: Ip>(
    platform: &P,
    frame: &Frame,
    destination: &Destination,
    egress: &Egress,
    hop: &Hop,
) -> Option<Verdict> {
    F::decrement_hops(platform, frame)?;
    let inherited = F::inherited(platform, frame)?;
    let load = |words: &[crate::cell::AtomicU32; 4]| {
        let [a, b, c, d] = [
            words[0].load(order::PLAIN).to_ne_bytes(),
            words[1].load(order::PLAIN).to_ne_bytes(),
            words[2].load(order::PLAIN).to_ne_bytes(),
            words[3].load(order::PLAIN).to_ne_bytes(),
        ];
        [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3]]
    };
    let outer = Ipv6 {
        version_class_flow: Ipv6::version_and_class(inherited.tos),
        payload_length: U16::new(frame.length as u16),
        next_header: F::IN_TUNNEL,
        hop_limit: frame.hops.wrapping_sub(1),
        source: load(&egress.source),
        destination: load(&destination.address),
    };
    let offset = link::replace(platform, frame, hop, Ipv6::LENGTH, ethernet::IPV6)?;
    platform.write(offset, outer)?;
    Some(link::leave(platform, hop))
}
