//! Packets that say only in a roundabout way which connection they belong to: fragments, ICMP errors, packets with IPv6
//! extension headers.
//!
//! - A first fragment has the ports; later ones get them from the record that the first one left ([`crate::fragment`]).
//! - An ICMP error quotes a packet that went the other way. Its tuple, turned round, is that of the connection's packets
//!   in the error's own direction: from the client, or from the real server.

use crate::counters::Event;
use crate::extension::{self, Part};
use crate::fragment;
use crate::frame::{
    Content, Frame, Link, has_ports, header4, header6, icmp_type, is_ipsec, transport, tuple4, tuple6,
};
use crate::platform::View;
use crate::table::{Family, Tuple, V4, V6};
use rlvs_packet::icmp::{self, IcmpError};
use rlvs_packet::ipv4::{self, Ipv4};
use rlvs_packet::ipv6::Ipv6;
use rlvs_packet::protocol;

/// Reads the headers from the IPv4 header on.
#[inline(always)]
pub(crate) fn parse4<P: View>(platform: &P, link: Link) -> Option<(Frame, Tuple<V4>)> {
    let (mut frame, header) = header4(platform, link)?;
    let fragment = header.fragment.get();
    if header.protocol == protocol::ICMP {
        return if fragment & ipv4::FRAGMENT_MASK == 0 { error4(platform, frame) } else { None };
    }
    if !has_ports(header.protocol) && !is_ipsec(header.protocol) {
        return None;
    }
    if fragment & ipv4::FRAGMENT_MASK != 0 && is_plain_only(header.protocol) {
        platform.count(Event::Fragment);
        return None;
    }
    let identification = header.identification.get() as u32;
    let tuple = tuple4(&header, [[0; 2]; 2], header.protocol);
    if fragment & ipv4::OFFSET_MASK != 0 {
        return later(platform, frame, tuple, identification);
    }
    let ports = transport(platform, &mut frame)?;
    if fragment & ipv4::FRAGMENT_MASK != 0 {
        frame.content = Content::FirstFragment;
        frame.detail = identification;
    }
    Some((frame, Tuple { ports, ..tuple }))
}

/// Reads the headers from the IPv6 header on.
#[inline(always)]
pub(crate) fn parse6<P: View>(platform: &P, link: Link) -> Option<(Frame, Tuple<V6>)> {
    let (mut frame, header) = header6(platform, link)?;
    let mut part = Part::Whole;
    let mut identification = 0;
    if extension::is_one(header.next_header) {
        let end = extension::walk(platform, frame.l3, header.next_header)?;
        frame.l4 = frame.l3 + end.offset;
        frame.protocol = end.protocol;
        part = end.part;
        identification = end.identification;
        if frame.l4 > frame.l3 + frame.length as usize {
            return None;
        }
    }
    if frame.protocol != header.next_header && is_plain_only(frame.protocol) {
        platform.count(if part == Part::Whole { Event::ExtensionHeader } else { Event::Fragment });
        return None;
    }
    let tuple = tuple6(&header, [[0; 2]; 2], frame.protocol);
    if part == Part::Later {
        return later(platform, frame, tuple, identification);
    }
    if frame.protocol == protocol::ICMPV6 {
        return if part == Part::Whole { error6(platform, frame) } else { None };
    }
    if !has_ports(frame.protocol) && !is_ipsec(frame.protocol) {
        return None;
    }
    let ports = transport(platform, &mut frame)?;
    if part == Part::First {
        frame.content = Content::FirstFragment;
        frame.detail = identification;
    }
    Some((frame, Tuple { ports, ..tuple }))
}

/// A fragment other than the first: its connection is the first one's.
#[inline(always)]
fn later<P: View, F: fragment::Keyed>(
    platform: &P,
    mut frame: Frame,
    tuple: Tuple<F>,
    identification: u32,
) -> Option<(Frame, Tuple<F>)> {
    match fragment::recall(platform, &tuple, identification) {
        Some((ports, protocol)) => {
            frame.content = Content::LaterFragment;
            frame.protocol = protocol;
            Some((frame, Tuple { ports, protocol, ..tuple }))
        }
        None => {
            frame.content = Content::EarlyFragment;
            frame.detail = identification;
            Some((frame, tuple))
        }
    }
}

/// Whether packets of this protocol are left to the kernel in fragments and behind extension headers. SCTP cuts its
/// messages itself, and NAT would need the whole packet's length; IPsec's fragments are nothing to IPVS either.
#[inline(always)]
fn is_plain_only(protocol: u8) -> bool {
    protocol == protocol::SCTP || is_ipsec(protocol)
}

/// An ICMP error: the tuple of the packet that it quotes, turned round.
#[inline(always)]
fn error4<P: View>(platform: &P, frame: Frame) -> Option<(Frame, Tuple<V4>)> {
    if !icmp::is_error(icmp_type(platform, &frame)?) {
        return None;
    }
    let (l4, tuple) = quoted4(platform, frame.l4 + IcmpError::LENGTH)?;
    about(frame, l4, &tuple)
}

/// The same for ICMPv6.
#[inline(always)]
fn error6<P: View>(platform: &P, frame: Frame) -> Option<(Frame, Tuple<V6>)> {
    if !icmp::is_error_v6(icmp_type(platform, &frame)?) {
        return None;
    }
    let (l4, tuple) = quoted6(platform, frame.l4 + IcmpError::LENGTH)?;
    about(frame, l4, &tuple)
}

/// An error about the packet with this tuple, whose transport header is quoted at `l4`.
#[inline(always)]
fn about<F: Family>(mut frame: Frame, l4: usize, tuple: &Tuple<F>) -> Option<(Frame, Tuple<F>)> {
    // What is behind the packet's end is the link's padding.
    if l4 + PORTS > frame.l3 + frame.length as usize {
        return None;
    }
    frame.protocol = tuple.protocol;
    frame.content = Content::Error;
    frame.detail = l4 as u32;
    let [source, destination] = tuple.ports;
    let turned = Tuple {
        source: tuple.destination,
        destination: tuple.source,
        ports: [destination, source],
        protocol: tuple.protocol,
    };
    Some((frame, turned))
}

/// Octets of both ports.
const PORTS: usize = 4;

/// The packet of which at least the beginning is quoted at `offset`: where its transport header is, and its tuple.
#[inline(always)]
pub(crate) fn quoted4<P: View>(platform: &P, offset: usize) -> Option<(usize, Tuple<V4>)> {
    let header = platform.read::<Ipv4>(offset)?;
    let header_length = header.header_length();
    if header.version_length >> 4 != 4
        || header_length < Ipv4::LENGTH
        || header.fragment.get() & ipv4::OFFSET_MASK != 0
        || !has_ports(header.protocol)
    {
        return None;
    }
    let l4 = offset + header_length;
    let ports = platform.read::<[[u8; 2]; 2]>(l4)?;
    Some((l4, tuple4(&header, ports, header.protocol)))
}

/// The same for IPv6.
#[inline(always)]
pub(crate) fn quoted6<P: View>(platform: &P, offset: usize) -> Option<(usize, Tuple<V6>)> {
    let header = platform.read::<Ipv6>(offset)?;
    if header.version_class_flow.get() >> 28 != 6 {
        return None;
    }
    let (mut protocol, mut l4) = (header.next_header, offset + Ipv6::LENGTH);
    if extension::is_one(protocol) {
        let end = extension::walk(platform, offset, protocol)?;
        if end.part == Part::Later {
            return None;
        }
        (protocol, l4) = (end.protocol, offset + end.offset);
    }
    if !has_ports(protocol) {
        return None;
    }
    let ports = platform.read::<[[u8; 2]; 2]>(l4)?;
    Some((l4, tuple6(&header, ports, protocol)))
}
