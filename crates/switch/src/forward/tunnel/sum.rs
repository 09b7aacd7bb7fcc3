//! What a packet adds to the checksum of an outer header.
//!
//! A TCP or UDP checksum makes its segment and pseudo-header add up to zero, and so does IPv4's its header. So the sum
//! of the whole packet is known without its data (the kernel calls that "local checksum offload"): only what has no such checksum is read to its end. If
//! the inner checksum was wrong, the outer one will be, and the packet is dropped at the tunnel's end instead of behind it.

use crate::cell::AtomicU32;
use crate::destination::Destination;
use crate::frame::{Content, Frame};
use crate::ip::Ip;
use crate::order;
use crate::platform::Platform;
use crate::table::Tuple;
use rlvs_packet::checksum::{fold, sum_of_pseudo};
use rlvs_packet::ipv6::Ipv6;
use rlvs_packet::protocol;
use rlvs_packet::udp::Udp;

/// The sum of the packet's octets, folded.
#[inline(always)]
pub(super) fn of_packet<P: Platform, F: Ip>(platform: &P, frame: &Frame, tuple: &Tuple<F>) -> Option<u16> {
    if !has_checksum::<P, F>(platform, frame)? {
        return platform.sum(frame.l3, frame.length as usize);
    }
    let length = frame.length as u16 - (frame.l4 - frame.l3) as u16;
    let pseudo = of_words(F::words(tuple.source))
        + of_words(F::words(tuple.destination))
        + sum_of_pseudo(frame.protocol, length) as u64;
    let transport = !fold(pseudo);
    Some(fold(F::header_sum(platform, frame)? as u64 + transport as u64))
}

/// Whether the transport header has a checksum over all that follows the IP header, and that is whole.
#[inline(always)]
fn has_checksum<P: Platform, F: Ip>(platform: &P, frame: &Frame) -> Option<bool> {
    let has_extensions = F::NUMBER == 6 && frame.l4 != frame.l3 + Ipv6::LENGTH;
    if frame.content != Content::Transport || has_extensions {
        return Some(false);
    }
    match frame.protocol {
        protocol::TCP => Some(true),
        protocol::UDP => {
            let header = platform.read::<Udp>(frame.l4)?;
            let whole = header.length.get() as usize == frame.length as usize - (frame.l4 - frame.l3);
            Some(whole && header.checksum != [0; 2])
        }
        _ => Some(false),
    }
}

/// The sum of the outer addresses, of either family.
#[inline(always)]
pub(super) fn of_addresses(source: &[AtomicU32; 4], destination: &Destination) -> u64 {
    let words = |cells: &[AtomicU32; 4]| {
        of_words([
            cells[0].load(order::PLAIN),
            cells[1].load(order::PLAIN),
            cells[2].load(order::PLAIN),
            cells[3].load(order::PLAIN),
        ])
    };
    words(source) + words(&destination.address)
}

/// The sum of an address; an IPv4 one is followed by zeros.
#[inline(always)]
fn of_words([a, b, c, d]: [u32; 4]) -> u64 {
    a as u64 + b as u64 + c as u64 + d as u64
}
