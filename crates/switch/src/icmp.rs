//! Errors that the director sends to a packet's sender.
//!
//! The frame that caused the error becomes the error: cut after the first octets of its transport header, which
//! is what the sender needs to tell whose packet it was (RFC 792, RFC 4443), with new headers in front, and
//! sent back the way it came. Its source is the address that the packet was for: the VIP.

use crate::extension;
use crate::frame::Frame;
use crate::platform::Platform;
use rlvs_packet::checksum::{self, fold};
use rlvs_packet::ethernet::{self, Ethernet, VlanTag};
use rlvs_packet::icmp::IcmpError;
use rlvs_packet::ipv4::Ipv4;
use rlvs_packet::ipv6::Ipv6;
use rlvs_packet::protocol;
use zerocopy::network_endian::{U16, U32};

/// Octets of the transport header that are quoted.
const TRANSPORT_QUOTE: usize = 8;
/// Words of the longest quote of IPv4: a header with all options.
const WORDS_MAX_4: usize = (60 + TRANSPORT_QUOTE) / 4;
/// The same for IPv6: the fixed header and as many extension headers as are walked over.
const WORDS_MAX_6: usize = (extension::OCTETS_MAX + 1 + TRANSPORT_QUOTE) / 4;

/// Type, code and second word of an error.
pub(crate) type Message = (u8, u8, u32);

/// Turns the IPv4 packet into an ICMP error for its sender.
#[inline(always)]
pub(crate) fn answer4<P: Platform>(platform: &P, frame: &Frame, (kind, code, word): Message) -> Option<()> {
    let link = platform.read::<Ethernet>(0)?;
    let ip = platform.read::<Ipv4>(frame.l3)?;
    if ip.source[0] == 0 || ip.source[0] == 127 || ip.source[0] >= 224 {
        // Nobody to tell (RFC 1122, 3.2.2).
        return None;
    }
    let quote = frame.l4 - frame.l3 + TRANSPORT_QUOTE;
    let sum = sum_of_quote::<P, WORDS_MAX_4>(platform, frame.l3, quote)?;
    let mut error = IcmpError { kind, code, checksum: [0; 2], mtu: U32::new(word) };
    error.checksum = checksum::finish(sum + checksum::sum_of(&error));
    let outer = Ipv4 {
        tos: 0xc0, // Internetwork control (RFC 1812, 4.3.2.5)
        fragment: U16::ZERO,
        ..Ipv4::originated(protocol::ICMP, (IcmpError::LENGTH + quote) as u16, ip.destination, ip.source)
    };
    prepend(platform, frame, &link, ethernet::IPV4, quote, Ipv4::LENGTH + IcmpError::LENGTH)?;
    platform.write(frame.l3, outer.with_checksum())?;
    platform.write(frame.l3 + Ipv4::LENGTH, error)
}

/// Turns the IPv6 packet into an ICMPv6 error for its sender.
#[inline(always)]
pub(crate) fn answer6<P: Platform>(platform: &P, frame: &Frame, (kind, code, word): Message) -> Option<()> {
    let quote = frame.l4 - frame.l3 + TRANSPORT_QUOTE;
    let link = platform.read::<Ethernet>(0)?;
    let ip = platform.read::<Ipv6>(frame.l3)?;
    if ip.source == [0; 16] || ip.source[0] == 0xff {
        return None;
    }
    let quoted = sum_of_quote::<P, WORDS_MAX_6>(platform, frame.l3, quote)?;
    let mut error = IcmpError { kind, code, checksum: [0; 2], mtu: U32::new(word) };
    let length = (IcmpError::LENGTH + quote) as u16;
    let outer = Ipv6::originated(protocol::ICMPV6, length, ip.destination, ip.source);
    // The pseudo-header (RFC 8200, 8.1): both addresses, the length, the protocol.
    let pseudo = checksum::sum_of(&outer.source)
        + checksum::sum_of(&outer.destination)
        + u16::from_ne_bytes(length.to_be_bytes()) as u32
        + u16::from_ne_bytes([0, protocol::ICMPV6]) as u32;
    let sum = pseudo + checksum::sum_of(&error) + quoted;
    error.checksum = (!fold(sum as u64)).to_ne_bytes();
    prepend(platform, frame, &link, ethernet::IPV6, quote, Ipv6::LENGTH + IcmpError::LENGTH)?;
    platform.write(frame.l3, outer)?;
    platform.write(frame.l3 + Ipv6::LENGTH, error)
}

/// Adds up the octets that will be quoted.
#[inline(always)]
fn sum_of_quote<P: Platform, const WORDS_MAX: usize>(
    platform: &P,
    offset: usize,
    quote: usize,
) -> Option<u32> {
    let mut sum = 0u32;
    let mut word = 0;
    while word < WORDS_MAX {
        if word * 4 >= quote {
            break;
        }
        sum += checksum::sum_of(&platform.read::<[u8; 4]>(offset + word * 4)?);
        word += 1;
    }
    Some(sum)
}

/// Cuts the packet after `quote` octets, makes `room` for headers before it, and turns the link header round.
#[inline(always)]
fn prepend<P: Platform>(
    platform: &P,
    frame: &Frame,
    link: &Ethernet,
    kind: u16,
    quote: usize,
    room: usize,
) -> Option<()> {
    let surplus = platform.length() as i32 - (frame.l3 + quote) as i32;
    if surplus > 0 && !platform.move_tail(-surplus) {
        return None;
    }
    if !platform.move_head(-(room as i32)) {
        return None;
    }
    let back = |kind| Ethernet { destination: link.source, source: link.destination, kind: U16::new(kind) };
    if frame.l3 == Ethernet::LENGTH {
        return platform.write(0, back(kind));
    }
    platform.write(0, back(ethernet::VLAN))?;
    platform.write(Ethernet::LENGTH, VlanTag { control: U16::new(frame.vlan), kind: U16::new(kind) })
}
