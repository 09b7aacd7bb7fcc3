//! What differs between IPv4 and IPv6 in a packet.

use crate::destination::Hop;
use crate::fragment::Keyed;
use crate::frame::{self, Content, Frame, Link, Sight, halves, octets};
use crate::icmp::{self, Message};
use crate::platform::{Platform, View};
use crate::reset;
use crate::table::{Tuple, V4, V6};
use crate::uncommon;
use rlvs_packet::checksum::{self, Change};
use rlvs_packet::ipv4::{self, Hops, HopsAndAddresses, Ipv4};
use rlvs_packet::ipv6::{self, Ipv6};
use rlvs_packet::{ethernet, protocol};

/// Which of a packet's two addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The sender's.
    Source,
    /// The receiver's.
    Destination,
}

impl Side {
    /// The other one.
    #[inline(always)]
    pub fn opposite(self) -> Side {
        if self == Side::Source { Side::Destination } else { Side::Source }
    }
}

/// An IP version.
pub trait Ip: Keyed {
    /// Its EtherType.
    const ETHER_TYPE: u16;
    /// Its number as the content of a tunnel.
    const IN_TUNNEL: u8;
    /// What every link carries.
    const MTU_MIN: u32;
    /// Where the IP header has both addresses, and how many octets they are.
    const ADDRESSES: (usize, usize);

    /// Whether the address is one that never leaves a machine.
    fn is_loopback(address: Self::Address) -> bool;
    /// Whether a router may send the packet on in fragments.
    fn may_be_cut<P: Platform>(platform: &P, frame: &Frame) -> bool;
    /// Says how many hops are left.
    fn set_hops<P: Platform>(platform: &P, frame: &Frame, hops: u8) -> Option<()>;
    /// Takes one hop off; there must be one.
    fn decrement_hops<P: Platform>(platform: &P, frame: &Frame) -> Option<()>;
    /// Replaces an address and takes one hop off; what the transport checksum must follow.
    fn replace<P: Platform>(platform: &P, frame: &Frame, side: Side, new: Self::Address) -> Option<Change>;
    /// Replaces an address in the header that an ICMP error quotes at `offset`, hops left alone; what the error's
    /// checksum must follow.
    fn replace_quoted<P: Platform>(
        platform: &P,
        offset: usize,
        side: Side,
        new: Self::Address,
    ) -> Option<Change>;
    /// Takes one hop off, and says what an outer header inherits: DSCP and ECN; and for an outer IPv4 header identification and flags.
    fn enter_tunnel<P: Platform>(platform: &P, frame: &Frame) -> Option<Inherited>;
    /// What the IP header adds to a checksum.
    fn header_sum<P: Platform>(platform: &P, frame: &Frame) -> Option<u32>;
    /// What the packet is at first sight: all that most packets need.
    fn sight<P: View>(platform: &P, link: Link) -> Sight<Self>
    where
        Self: Sized;
    /// Reads the headers of any packet that may belong to a connection. `None`: nothing for the switch; what is malformed is
    /// counted.
    fn parse<P: View>(platform: &P, link: Link) -> Option<(Frame, Tuple<Self>)>;
    /// Of a packet of which at least the beginning is quoted at `offset`: where its transport header is, and its tuple.
    fn quoted<P: View>(platform: &P, offset: usize) -> Option<(usize, Tuple<Self>)>
    where
        Self: Sized;
    /// Turns the packet into an ICMP error of its version for its sender.
    fn answer<P: Platform>(platform: &P, frame: &Frame, message: Message) -> Option<()>;
    /// Turns the client's TCP packet into a reset of its connection.
    fn reset<P: Platform>(platform: &P, l3: usize, l4: usize) -> Option<()>;
    /// [`Platform::forwards4`] or the same for IPv6.
    fn forwards<P: Platform>(platform: &P, source: Self::Address, destination: Self::Address) -> bool;
    /// [`Platform::narrow4`] or the same for IPv6.
    fn narrow<P: Platform>(
        platform: &P,
        source: Self::Address,
        destination: Self::Address,
        length: u16,
    ) -> Option<u32>;
    /// How the kernel would send a packet of this length on; 0: of any.
    fn route<P: Platform>(
        platform: &P,
        source: Self::Address,
        destination: Self::Address,
        length: u16,
    ) -> Option<Hop>;
}

/// What an outer header takes from the inner one.
#[derive(Clone, Copy)]
pub struct Inherited {
    /// DSCP and ECN; a congestion mark stays inside (RFC 6040's compatibility mode, as the kernel's tunnels have it).
    pub tos: u8,
    /// For an outer IPv4 header that may be fragmented: something that tells packets apart.
    pub identification: u16,
    /// IPv4's "don't fragment", or 0.
    pub fragment: u16,
}

/// ECN "congestion experienced", and what the outer header shows instead: "ECN-capable".
fn outer_tos(tos: u8) -> u8 {
    if tos & 3 == 3 { tos & !3 | 2 } else { tos }
}

impl Ip for V4 {
    const ETHER_TYPE: u16 = ethernet::IPV4;
    const IN_TUNNEL: u8 = protocol::IPV4;
    const MTU_MIN: u32 = ipv4::MTU_MIN;
    const ADDRESSES: (usize, usize) = (Ipv4::LENGTH - 2 * Ipv4::ADDRESS, 2 * Ipv4::ADDRESS);

    #[inline(always)]
    fn is_loopback(address: u32) -> bool {
        let [first, ..] = address.to_ne_bytes();
        first == 127
    }

    #[inline(always)]
    fn may_be_cut<P: Platform>(platform: &P, frame: &Frame) -> bool {
        // Nobody is told about an error that does not fit.
        frame.content == Content::Error
            || platform
                .read::<Ipv4>(frame.l3)
                .is_some_and(|header| header.fragment.get() & ipv4::DONT_FRAGMENT == 0)
    }

    #[inline(always)]
    fn set_hops<P: Platform>(platform: &P, frame: &Frame, hops: u8) -> Option<()> {
        platform.edit(frame.l3 + Hops::OFFSET, |old: &mut Hops| *old = old.with_ttl(hops))
    }

    #[inline(always)]
    fn decrement_hops<P: Platform>(platform: &P, frame: &Frame) -> Option<()> {
        platform.edit(frame.l3 + Hops::OFFSET, |hops: &mut Hops| *hops = hops.decremented())
    }

    #[inline(always)]
    fn replace<P: Platform>(platform: &P, frame: &Frame, side: Side, new: u32) -> Option<Change> {
        platform.edit(frame.l3 + Hops::OFFSET, |header: &mut HopsAndAddresses| {
            let place = &mut header.addresses[if side == Side::Source { 0 } else { 1 }];
            let change = Change::new().double_word(u32::from_ne_bytes(*place), new);
            *place = new.to_ne_bytes();
            header.hops.checksum = change.apply(header.hops.checksum);
            header.hops = header.hops.decremented();
            change
        })
    }

    #[inline(always)]
    fn replace_quoted<P: Platform>(platform: &P, offset: usize, side: Side, new: u32) -> Option<Change> {
        let mut header = platform.read::<Ipv4>(offset)?;
        let place = if side == Side::Source { &mut header.source } else { &mut header.destination };
        let change = Change::new().double_word(u32::from_ne_bytes(*place), new);
        *place = new.to_ne_bytes();
        let old = header.checksum;
        header.checksum = change.apply(old);
        platform.write(offset, header)?;
        Some(change.word(old, header.checksum))
    }

    #[inline(always)]
    fn enter_tunnel<P: Platform>(platform: &P, frame: &Frame) -> Option<Inherited> {
        platform.edit(frame.l3, |header: &mut Ipv4| {
            let hops = header.hops().decremented();
            (header.ttl, header.checksum) = (hops.ttl, hops.checksum);
            let fragment = header.fragment.get();
            Inherited {
                tos: outer_tos(header.tos),
                // Fragments of one packet travel in packets of their own.
                identification: header.identification.get().wrapping_add(fragment & ipv4::OFFSET_MASK),
                fragment: fragment & ipv4::DONT_FRAGMENT,
            }
        })
    }

    #[inline(always)]
    fn header_sum<P: Platform>(_: &P, _: &Frame) -> Option<u32> {
        // That is what its own checksum is for.
        Some(0)
    }

    #[inline(always)]
    fn sight<P: View>(platform: &P, link: Link) -> Sight<V4> {
        frame::sight4(platform, link)
    }

    #[inline(always)]
    fn parse<P: View>(platform: &P, link: Link) -> Option<(Frame, Tuple<V4>)> {
        uncommon::parse4(platform, link)
    }

    #[inline(always)]
    fn quoted<P: View>(platform: &P, offset: usize) -> Option<(usize, Tuple<V4>)> {
        uncommon::quoted4(platform, offset)
    }

    #[inline(always)]
    fn answer<P: Platform>(platform: &P, frame: &Frame, message: Message) -> Option<()> {
        icmp::answer4(platform, frame, message)
    }

    #[inline(always)]
    fn reset<P: Platform>(platform: &P, l3: usize, l4: usize) -> Option<()> {
        reset::reset4(platform, l3, l4)
    }

    #[inline(always)]
    fn forwards<P: Platform>(platform: &P, source: u32, destination: u32) -> bool {
        platform.forwards4(source, destination)
    }

    #[inline(always)]
    fn narrow<P: Platform>(platform: &P, source: u32, destination: u32, length: u16) -> Option<u32> {
        platform.narrow4(source, destination, length)
    }

    #[inline(always)]
    fn route<P: Platform>(platform: &P, source: u32, destination: u32, length: u16) -> Option<Hop> {
        platform.route4(source, destination, length)
    }
}

impl Ip for V6 {
    const ETHER_TYPE: u16 = ethernet::IPV6;
    const IN_TUNNEL: u8 = protocol::IPV6;
    const MTU_MIN: u32 = ipv6::MTU_MIN;
    const ADDRESSES: (usize, usize) = (Ipv6::LENGTH - 2 * Ipv6::ADDRESS, 2 * Ipv6::ADDRESS);

    #[inline(always)]
    fn is_loopback(address: [u64; 2]) -> bool {
        address == [0, 1u64.to_be()]
    }

    #[inline(always)]
    fn may_be_cut<P: Platform>(_: &P, _: &Frame) -> bool {
        false
    }

    #[inline(always)]
    fn set_hops<P: Platform>(platform: &P, frame: &Frame, hops: u8) -> Option<()> {
        platform.write(frame.l3 + Ipv6::HOP_LIMIT, hops)
    }

    #[inline(always)]
    fn decrement_hops<P: Platform>(platform: &P, frame: &Frame) -> Option<()> {
        Self::set_hops(platform, frame, frame.hops.wrapping_sub(1))
    }

    #[inline(always)]
    fn replace<P: Platform>(platform: &P, frame: &Frame, side: Side, new: [u64; 2]) -> Option<Change> {
        platform.edit(frame.l3, |header: &mut Ipv6| {
            header.hop_limit = frame.hops.wrapping_sub(1);
            replace6(header, side, new)
        })
    }

    #[inline(always)]
    fn replace_quoted<P: Platform>(platform: &P, offset: usize, side: Side, new: [u64; 2]) -> Option<Change> {
        platform.edit(offset, |header: &mut Ipv6| replace6(header, side, new))
    }

    #[inline(always)]
    fn enter_tunnel<P: Platform>(platform: &P, frame: &Frame) -> Option<Inherited> {
        platform.edit(frame.l3, |header: &mut Ipv6| {
            header.hop_limit = frame.hops.wrapping_sub(1);
            let [low, _] = halves(header.source);
            Inherited {
                tos: outer_tos(header.traffic_class()),
                identification: (low as u16) ^ frame.length as u16,
                fragment: 0,
            }
        })
    }

    #[inline(always)]
    fn header_sum<P: Platform>(platform: &P, frame: &Frame) -> Option<u32> {
        Some(checksum::sum_of(&platform.read::<Ipv6>(frame.l3)?))
    }

    #[inline(always)]
    fn sight<P: View>(platform: &P, link: Link) -> Sight<V6> {
        frame::sight6(platform, link)
    }

    #[inline(always)]
    fn parse<P: View>(platform: &P, link: Link) -> Option<(Frame, Tuple<V6>)> {
        uncommon::parse6(platform, link)
    }

    #[inline(always)]
    fn quoted<P: View>(platform: &P, offset: usize) -> Option<(usize, Tuple<V6>)> {
        uncommon::quoted6(platform, offset)
    }

    #[inline(always)]
    fn answer<P: Platform>(platform: &P, frame: &Frame, message: Message) -> Option<()> {
        icmp::answer6(platform, frame, message)
    }

    #[inline(always)]
    fn reset<P: Platform>(platform: &P, l3: usize, l4: usize) -> Option<()> {
        reset::reset6(platform, l3, l4)
    }

    #[inline(always)]
    fn forwards<P: Platform>(platform: &P, source: [u64; 2], destination: [u64; 2]) -> bool {
        platform.forwards6(source, destination)
    }

    #[inline(always)]
    fn narrow<P: Platform>(
        platform: &P,
        source: [u64; 2],
        destination: [u64; 2],
        length: u16,
    ) -> Option<u32> {
        platform.narrow6(source, destination, length)
    }

    #[inline(always)]
    fn route<P: Platform>(platform: &P, source: [u64; 2], destination: [u64; 2], length: u16) -> Option<Hop> {
        platform.route6(source, destination, length)
    }
}

/// Replaces an address in the header; what checksums must follow.
#[inline(always)]
fn replace6(header: &mut Ipv6, side: Side, new: [u64; 2]) -> Change {
    let place = if side == Side::Source { &mut header.source } else { &mut header.destination };
    let old = halves(*place);
    *place = octets(new);
    Change::new()
        .double_word(old[0] as u32, new[0] as u32)
        .double_word((old[0] >> 32) as u32, (new[0] >> 32) as u32)
        .double_word(old[1] as u32, new[1] as u32)
        .double_word((old[1] >> 32) as u32, (new[1] >> 32) as u32)
}
