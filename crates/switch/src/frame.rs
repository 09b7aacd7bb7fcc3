//! What the switch keeps of a frame: offsets and the few fields that decide its way.

use crate::counters::Event;
use crate::platform::Platform;
use crate::state::sctp;
use crate::table::{Tuple, V4, V6};
use rlvs_packet::ethernet::{self, Ethernet, VlanTag};
use rlvs_packet::ipv4::{self, Ipv4};
use rlvs_packet::ipv6::Ipv6;
use rlvs_packet::protocol;
use rlvs_packet::sctp::Sctp;
use rlvs_packet::tcp::Tcp;
use rlvs_packet::udp::Udp;

/// A packet in its frame: TCP, UDP, SCTP, or IPsec (AH, ESP).
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Offset of the IP header.
    pub l3: usize,
    /// Offset of the transport header.
    pub l4: usize,
    /// Octets from the IP header to the end of the packet.
    pub length: u32,
    /// [`protocol`].
    pub protocol: u8,
    /// What moves the connection's state: TCP's flags, SCTP's [`sctp::event`]; 0 for UDP.
    pub signal: u8,
    /// Hops left.
    pub hops: u8,
    /// The VLAN tag's control field; 0 if there is no tag.
    pub vlan: u16,
}

impl Frame {
    #[inline(always)]
    fn behind(link: Link) -> Frame {
        Frame { l3: link.l3, l4: link.l3, length: 0, protocol: 0, signal: 0, hops: 0, vlan: link.vlan }
    }
}

/// The link header: where the IP header is, and the tag.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Offset of the IP header.
    pub l3: usize,
    /// The VLAN tag's control field; 0 if there is no tag.
    pub vlan: u16,
    /// The frame went to a group, not to this machine.
    pub multicast: bool,
}

impl Link {
    /// In one word, for a BPF function.
    #[inline(always)]
    pub(crate) fn pack(self) -> u32 {
        (self.vlan as u32) << 16 | (self.multicast as u32) << 8 | self.l3 as u32
    }

    /// The reverse of [`Self::pack`].
    #[inline(always)]
    pub(crate) fn unpack(packed: u32) -> Link {
        // One of two constants, so that the verifier knows each offset into the frame.
        let tagged = packed as u8 as usize != Ethernet::LENGTH;
        let l3 = if tagged { Ethernet::LENGTH + VlanTag::LENGTH } else { Ethernet::LENGTH };
        Link { l3, vlan: (packed >> 16) as u16, multicast: packed & 0x100 != 0 }
    }
}

/// What a frame carries.
pub enum Network {
    /// IPv4.
    V4(Link),
    /// IPv6.
    V6(Link),
    /// Nothing for the switch.
    Other,
}

/// Reads the link header.
#[inline(always)]
pub fn network<P: Platform>(platform: &P) -> Network {
    let Some(header) = platform.read::<Ethernet>(0) else { return Network::Other };
    let mut kind = header.kind.get();
    let mut link = Link { l3: Ethernet::LENGTH, vlan: 0, multicast: header.is_multicast() };
    if kind == ethernet::VLAN {
        let Some(tag) = platform.read::<VlanTag>(Ethernet::LENGTH) else { return Network::Other };
        kind = tag.kind.get();
        link.vlan = tag.control.get();
        link.l3 = Ethernet::LENGTH + VlanTag::LENGTH;
    }
    match kind {
        ethernet::IPV4 => Network::V4(link),
        ethernet::IPV6 => Network::V6(link),
        _ => Network::Other,
    }
}

/// Reads the headers from the IPv4 header on.
#[inline(always)]
pub fn parse4<P: Platform>(platform: &P, link: Link) -> Option<(Frame, Tuple<V4>)> {
    let mut frame = Frame::behind(link);
    let Some(header) = platform.read::<Ipv4>(frame.l3) else { return malformed(platform) };
    let header_length = header.header_length();
    frame.length = header.total_length.get() as u32;
    if header.version_length >> 4 != 4
        || header_length < Ipv4::LENGTH
        || (frame.length as usize) < header_length
        || frame.l3 + frame.length as usize > platform.length()
    {
        return malformed(platform);
    }
    if !is_switched(header.protocol) {
        return None;
    }
    if header.fragment.get() & ipv4::FRAGMENT_MASK != 0 {
        platform.count(Event::Fragment);
        return None;
    }
    frame.l4 = frame.l3 + header_length;
    frame.protocol = header.protocol;
    frame.hops = header.ttl;
    let Some(ports) = transport(platform, &mut frame, header_length) else { return malformed(platform) };
    let tuple = Tuple {
        source: u32::from_ne_bytes(header.source),
        destination: u32::from_ne_bytes(header.destination),
        ports,
        protocol: flow(frame.protocol),
    };
    Some((frame, tuple))
}

/// Reads the headers from the IPv6 header on.
#[inline(always)]
pub fn parse6<P: Platform>(platform: &P, link: Link) -> Option<(Frame, Tuple<V6>)> {
    let mut frame = Frame::behind(link);
    let Some(header) = platform.read::<Ipv6>(frame.l3) else { return malformed(platform) };
    frame.length = header.payload_length.get() as u32 + Ipv6::LENGTH as u32;
    if header.version_class_flow.get() >> 28 != 6 || frame.l3 + frame.length as usize > platform.length() {
        return malformed(platform);
    }
    frame.protocol = header.next_header;
    match header.next_header {
        protocol if is_switched(protocol) => {}
        // Hop-by-hop, routing, fragment and destination options: the transport header is further on.
        0 | 43 | 44 | 60 => {
            platform.count(Event::ExtensionHeader);
            return None;
        }
        _ => return None,
    }
    frame.l4 = frame.l3 + Ipv6::LENGTH;
    frame.hops = header.hop_limit;
    let Some(ports) = transport(platform, &mut frame, Ipv6::LENGTH) else { return malformed(platform) };
    let tuple = Tuple {
        source: halves(header.source),
        destination: halves(header.destination),
        ports,
        protocol: flow(frame.protocol),
    };
    Some((frame, tuple))
}

/// The ports, and the signal into `frame`; `None` if the packet ends within its transport header.
#[inline(always)]
fn transport<P: Platform>(platform: &P, frame: &mut Frame, header_length: usize) -> Option<[[u8; 2]; 2]> {
    let room = frame.length as usize - header_length;
    match frame.protocol {
        protocol::TCP => {
            if room < Tcp::LENGTH {
                return None;
            }
            let header = platform.read::<Tcp>(frame.l4)?;
            frame.signal = header.flags;
            Some([header.source, header.destination])
        }
        protocol::SCTP => {
            frame.signal =
                sctp::event_of(platform, frame.l4 + Sctp::LENGTH, frame.l3 + frame.length as usize)?;
            let header = platform.read::<Sctp>(frame.l4)?;
            Some([header.source, header.destination])
        }
        protocol::AH | protocol::ESP => Some([IKE_PORT; 2]),
        _ => {
            if room < Udp::LENGTH {
                return None;
            }
            let header = platform.read::<Udp>(frame.l4)?;
            Some([header.source, header.destination])
        }
    }
}

/// The port of the Internet Key Exchange (RFC 7296), in network order.
const IKE_PORT: [u8; 2] = 500u16.to_be_bytes();

/// Whether packets of this protocol can belong to a connection.
#[inline(always)]
fn is_switched(protocol: u8) -> bool {
    matches!(protocol, protocol::TCP | protocol::UDP | protocol::SCTP | protocol::AH | protocol::ESP)
}

/// The protocol of the connection that packets of this protocol belong to: those of IPsec have no ports and go where
/// the exchange of their keys went, by UDP.
#[inline(always)]
fn flow(protocol: u8) -> u8 {
    match protocol {
        protocol::AH | protocol::ESP => protocol::UDP,
        other => other,
    }
}

#[inline(always)]
fn malformed<T, P: Platform>(platform: &P) -> Option<T> {
    platform.count(Event::Malformed);
    None
}

/// An IPv6 address as two words, as the octets lie in memory.
#[inline(always)]
pub(crate) fn halves(a: [u8; 16]) -> [u64; 2] {
    [
        u64::from_ne_bytes([a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]]),
        u64::from_ne_bytes([a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15]]),
    ]
}

/// The reverse of [`halves`].
#[inline(always)]
pub(crate) fn octets([a, b]: [u64; 2]) -> [u8; 16] {
    let (a, b) = (a.to_ne_bytes(), b.to_ne_bytes());
    [a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]
}
