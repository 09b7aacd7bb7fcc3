//! What the switch keeps of a frame: offsets and the few fields that decide its way.

use crate::counters::Event;
use crate::platform::View;
use crate::state::sctp;
use crate::table::{Family, Tuple, V4, V6};
use rlvs_packet::ethernet::{self, Ethernet, VlanTag};
use rlvs_packet::ipv4::{self, Ipv4};
use rlvs_packet::ipv6::{Ipv6, extension};
use rlvs_packet::sctp::Sctp;
use rlvs_packet::tcp::Tcp;
use rlvs_packet::udp::Udp;
use rlvs_packet::{icmp, protocol};

/// A packet of a connection, or an ICMP error about one, in its frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Offset of the IP header.
    pub l3: usize,
    /// Offset of what follows the IP header and its extensions.
    pub l4: usize,
    /// Octets from the IP header to the end of the packet.
    pub length: u32,
    /// The connection's: [`protocol`].
    pub protocol: u8,
    /// What moves the connection's state: TCP's flags, SCTP's [`sctp::event`]; 0 for all else.
    pub signal: u8,
    /// Hops left.
    pub hops: u8,
    /// The VLAN tag's control field; 0 if there is no tag.
    pub vlan: u16,
    /// What stands at `l4`.
    pub content: Content,
    /// More on that, else 0. (Not within [`Content`]: without a defined value on each way, the compiler would store whatever
    /// is in a register.)
    pub detail: u32,
}

/// What follows the IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The transport header.
    Transport,
    /// The transport header, and more fragments of the packet follow; [`Frame::detail`] is their identification.
    FirstFragment,
    /// The middle or end of a packet whose transport header came in another fragment.
    LaterFragment,
    /// The same, and that other fragment has not come yet; [`Frame::detail`] is their identification, the ports are not known.
    EarlyFragment,
    /// An ICMP error about a packet of the connection; [`Frame::detail`] is the offset of the transport header that it quotes.
    Error,
}

impl Content {
    /// Whether the transport header stands at [`Frame::l4`].
    #[inline(always)]
    pub fn has_transport(self) -> bool {
        matches!(self, Content::Transport | Content::FirstFragment)
    }
}

impl Frame {
    #[inline(always)]
    fn behind(link: Link) -> Frame {
        Frame {
            l3: link.l3,
            l4: link.l3,
            length: 0,
            protocol: 0,
            signal: 0,
            hops: 0,
            vlan: link.vlan,
            content: Content::Transport,
            detail: 0,
        }
    }

    /// A packet of which only the beginning is there, behind an untagged link header: enough to answer it.
    #[inline(always)]
    pub(crate) fn quoted(l4: usize) -> Frame {
        Frame { l4, ..Frame::behind(Link { l3: Ethernet::LENGTH, vlan: 0, multicast: false }) }
    }
}

/// What a packet is, at first sight.
pub enum Sight<F: Family> {
    /// Its transport header follows the IP header, and nothing is special about it.
    Plain(Frame, Tuple<F>),
    /// A fragment, an ICMP error, extension headers: to be looked at by [`crate::uncommon`].
    Uncommon,
    /// Nothing for the switch; what is malformed is counted.
    Foreign,
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
pub fn network<P: View>(platform: &P) -> Network {
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

/// Reads the headers of a plain packet from the IPv4 header on.
#[inline(always)]
pub fn sight4<P: View>(platform: &P, link: Link) -> Sight<V4> {
    let Some((mut frame, header)) = header4(platform, link) else { return Sight::Foreign };
    if header.protocol == protocol::ICMP {
        let is_error = icmp_type(platform, &frame).is_some_and(icmp::is_error);
        return if is_error { Sight::Uncommon } else { Sight::Foreign };
    }
    if !has_ports(header.protocol) && !is_ipsec(header.protocol) {
        return Sight::Foreign;
    }
    if header.fragment.get() & ipv4::FRAGMENT_MASK != 0 {
        return Sight::Uncommon;
    }
    match transport(platform, &mut frame) {
        Some(ports) => Sight::Plain(frame, tuple4(&header, ports, header.protocol)),
        None => Sight::Foreign,
    }
}

/// Reads the headers of a plain packet from the IPv6 header on.
#[inline(always)]
pub fn sight6<P: View>(platform: &P, link: Link) -> Sight<V6> {
    let Some((mut frame, header)) = header6(platform, link) else { return Sight::Foreign };
    match header.next_header {
        extension::HOP_BY_HOP | extension::ROUTING | extension::FRAGMENT | extension::DESTINATION_OPTIONS => {
            return Sight::Uncommon;
        }
        protocol::ICMPV6 => {
            let is_error = icmp_type(platform, &frame).is_some_and(icmp::is_error_v6);
            return if is_error { Sight::Uncommon } else { Sight::Foreign };
        }
        other if !has_ports(other) && !is_ipsec(other) => return Sight::Foreign,
        _ => {}
    }
    match transport(platform, &mut frame) {
        Some(ports) => Sight::Plain(frame, tuple6(&header, ports, header.next_header)),
        None => Sight::Foreign,
    }
}

/// Reads the IPv4 header; `None`, and counted, if it contradicts itself or the frame.
#[inline(always)]
pub(crate) fn header4<P: View>(platform: &P, link: Link) -> Option<(Frame, Ipv4)> {
    let mut frame = Frame::behind(link);
    let Some(header) = platform.read::<Ipv4>(frame.l3) else { return malformed(platform) };
    let header_length = header.header_length();
    frame.length = if platform.is_joined() {
        platform.length().saturating_sub(frame.l3) as u32
    } else {
        header.total_length.get() as u32
    };
    if header.version_length >> 4 != 4
        || header_length < Ipv4::LENGTH
        || (frame.length as usize) < header_length
        || frame.l3 + frame.length as usize > platform.length()
    {
        return malformed(platform);
    }
    frame.l4 = frame.l3 + header_length;
    frame.protocol = header.protocol;
    frame.hops = header.ttl;
    Some((frame, header))
}

/// Reads the IPv6 header; `None`, and counted, if it contradicts itself or the frame.
#[inline(always)]
pub(crate) fn header6<P: View>(platform: &P, link: Link) -> Option<(Frame, Ipv6)> {
    let mut frame = Frame::behind(link);
    let Some(header) = platform.read::<Ipv6>(frame.l3) else { return malformed(platform) };
    frame.length = if platform.is_joined() {
        platform.length().saturating_sub(frame.l3) as u32
    } else {
        header.payload_length.get() as u32 + Ipv6::LENGTH as u32
    };
    if header.version_class_flow.get() >> 28 != 6 || frame.l3 + frame.length as usize > platform.length() {
        return malformed(platform);
    }
    frame.l4 = frame.l3 + Ipv6::LENGTH;
    frame.protocol = header.next_header;
    frame.hops = header.hop_limit;
    Some((frame, header))
}

/// The tuple of a packet with this header.
#[inline(always)]
pub(crate) fn tuple4(header: &Ipv4, ports: [[u8; 2]; 2], protocol: u8) -> Tuple<V4> {
    Tuple {
        source: u32::from_ne_bytes(header.source),
        destination: u32::from_ne_bytes(header.destination),
        ports,
        protocol: flow(protocol),
    }
}

/// The tuple of a packet with this header.
#[inline(always)]
pub(crate) fn tuple6(header: &Ipv6, ports: [[u8; 2]; 2], protocol: u8) -> Tuple<V6> {
    let (source, destination) = (halves(header.source), halves(header.destination));
    Tuple { source, destination, ports, protocol: flow(protocol) }
}

/// The protocol of the connection that packets of this protocol belong to: those of IPsec have no ports and go where
/// the exchange of their keys went, by UDP.
#[inline(always)]
fn flow(protocol: u8) -> u8 {
    if is_ipsec(protocol) { protocol::UDP } else { protocol }
}

/// Whether packets of this protocol begin with ports, and can belong to a connection.
#[inline(always)]
pub(crate) fn has_ports(protocol: u8) -> bool {
    matches!(protocol, protocol::TCP | protocol::UDP | protocol::SCTP)
}

/// Whether packets of this protocol are encrypted or signed.
#[inline(always)]
pub(crate) fn is_ipsec(protocol: u8) -> bool {
    matches!(protocol, protocol::AH | protocol::ESP)
}

/// The port of the Internet Key Exchange (RFC 7296), in network order.
const IKE_PORT: [u8; 2] = 500u16.to_be_bytes();

/// The type of an ICMP message. (Read with its code: compared for a single octet, the frame's end is not understood by the verifier.)
#[inline(always)]
pub(crate) fn icmp_type<P: View>(platform: &P, frame: &Frame) -> Option<u8> {
    platform.read::<[u8; 2]>(frame.l4).map(|[kind, _code]| kind)
}

/// The ports, and the signal into `frame`; `None`, and counted, if the packet ends within its transport header.
#[inline(always)]
pub(crate) fn transport<P: View>(platform: &P, frame: &mut Frame) -> Option<[[u8; 2]; 2]> {
    match ports_and_signal(platform, frame) {
        Some(ports) => Some(ports),
        None => malformed(platform),
    }
}

#[inline(always)]
fn ports_and_signal<P: View>(platform: &P, frame: &mut Frame) -> Option<[[u8; 2]; 2]> {
    let end = frame.l3 + frame.length as usize;
    let room = end - frame.l4;
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
            frame.signal = sctp::event_of(platform, frame.l4 + Sctp::LENGTH, end)?;
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

#[inline(always)]
pub(crate) fn malformed<T, P: View>(platform: &P) -> Option<T> {
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
