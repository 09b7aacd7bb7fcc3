//! GUE: a UDP packet whose source port spreads connections over paths and receive queues.
//!
//! IPVS's "remote checksum" is its wish to leave a checksum that the sender's hardware has yet to compute to the
//! tunnel's end. Packets that come in over a wire have theirs, so here it means a UDP checksum and nothing more, as it
//! does for such packets in IPVS.

use crate::ip::Ip;
use crate::platform::Platform;
use rlvs_packet::checksum::{finish_udp, sum_of, sum_of_pseudo};
use rlvs_packet::gue::Gue;
use rlvs_packet::protocol;
use rlvs_packet::udp::Udp;
use zerocopy::network_endian::U16;

/// Octets of both headers.
pub(super) const LENGTH: usize = Udp::LENGTH + Gue::LENGTH;

/// Linux's default `ip_local_port_range`.
const PORTS: core::ops::Range<u32> = 32768..60999;

/// The source port of a connection with this hash.
#[inline(always)]
pub(super) fn source_port(hash: u32) -> [u8; 2] {
    let spread = (hash as u64 * (PORTS.end - PORTS.start) as u64) >> 32;
    (PORTS.start as u16 + spread as u16).to_be_bytes()
}

/// Writes the headers of a UDP packet of `length` octets, with a checksum if the sum of both addresses and of what
/// follows the headers is given.
#[inline(always)]
pub(super) fn write<P: Platform, F: Ip>(
    platform: &P,
    offset: usize,
    [source, destination]: [[u8; 2]; 2],
    length: u16,
    sum: Option<u64>,
) -> Option<()> {
    let mut udp = Udp { source, destination, length: U16::new(length), checksum: [0; 2] };
    let gue = Gue { variant_length: 0, protocol: F::IN_TUNNEL, flags: U16::ZERO };
    if let Some(sum) = sum {
        let headers = sum_of(&udp) + sum_of(&gue) + sum_of_pseudo(protocol::UDP, length);
        udp.checksum = finish_udp(sum + headers as u64);
    }
    platform.write(offset, udp)?;
    platform.write(offset + Udp::LENGTH, gue)
}
