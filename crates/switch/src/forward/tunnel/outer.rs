//! The outer IP header.

use super::super::link;
use crate::cell::AtomicU32;
use crate::destination::{Destination, Hop};
use crate::frame::Frame;
use crate::ip::Inherited;
use crate::order;
use crate::platform::Platform;
use rlvs_packet::ethernet;
use rlvs_packet::ipv4::{DONT_FRAGMENT, Ipv4};
use rlvs_packet::ipv6::Ipv6;
use zerocopy::network_endian::U16;

/// Puts the hop's link header and an outer IP header of the destination's family in front of a packet that is ready to enter the
/// tunnel. `content` is what the outer packet carries: the protocol, and octets before the inner IP header, whose offset is returned.
#[inline(always)]
pub(super) fn put<P: Platform>(
    platform: &P,
    frame: &Frame,
    inherited: Inherited,
    destination: &Destination,
    source: &[AtomicU32; 4],
    hop: &Hop,
    content: (u8, usize),
) -> Option<usize> {
    if destination.family.load(order::PLAIN) == 6 {
        put6(platform, frame, inherited, destination, source, hop, content)
    } else {
        put4(platform, frame, inherited, destination, source, hop, content)
    }
}

#[inline(always)]
fn put4<P: Platform>(
    platform: &P,
    frame: &Frame,
    inherited: Inherited,
    destination: &Destination,
    source: &[AtomicU32; 4],
    hop: &Hop,
    (protocol, between): (u8, usize),
) -> Option<usize> {
    let offset = link::replace(platform, frame, hop, Ipv4::LENGTH + between, ethernet::IPV4)?;
    let inherits = platform.config()?.settings.pmtu_disc.load(order::PLAIN) != 0;
    let fragment = if inherits { inherited.fragment } else { 0 };
    let may_fragment = fragment & DONT_FRAGMENT == 0;
    let outer = Ipv4 {
        version_length: Ipv4::PLAIN,
        tos: inherited.tos,
        total_length: U16::new((frame.length as usize + Ipv4::LENGTH + between) as u16),
        identification: U16::new(if may_fragment { inherited.identification } else { 0 }),
        fragment: U16::new(fragment),
        ttl: frame.hops.wrapping_sub(1),
        protocol,
        checksum: [0; 2],
        source: source[0].load(order::PLAIN).to_ne_bytes(),
        destination: destination.address[0].load(order::PLAIN).to_ne_bytes(),
    };
    platform.write(offset, outer.with_checksum())?;
    Some(offset + Ipv4::LENGTH)
}

#[inline(always)]
fn put6<P: Platform>(
    platform: &P,
    frame: &Frame,
    inherited: Inherited,
    destination: &Destination,
    source: &[AtomicU32; 4],
    hop: &Hop,
    (protocol, between): (u8, usize),
) -> Option<usize> {
    let offset = link::replace(platform, frame, hop, Ipv6::LENGTH + between, ethernet::IPV6)?;
    let outer = Ipv6 {
        version_class_flow: Ipv6::version_and_class(inherited.tos),
        payload_length: U16::new((frame.length as usize + between) as u16),
        next_header: protocol,
        hop_limit: frame.hops.wrapping_sub(1),
        source: octets(source),
        destination: octets(&destination.address),
    };
    platform.write(offset, outer)?;
    Some(offset + Ipv6::LENGTH)
}

#[inline(always)]
fn octets(words: &[AtomicU32; 4]) -> [u8; 16] {
    let [a, b, c, d] = [
        words[0].load(order::PLAIN).to_ne_bytes(),
        words[1].load(order::PLAIN).to_ne_bytes(),
        words[2].load(order::PLAIN).to_ne_bytes(),
        words[3].load(order::PLAIN).to_ne_bytes(),
    ];
    [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3]]
}
