//! Resets: what a client gets that goes on with a TCP connection whose real server has failed.
//!
//! The client's packet becomes the reset, cut after its TCP header and sent back the way it came, with the VIP as its source. Its
//! sequence number is the one that the client has just acknowledged, so the client takes it for its server's (RFC 9293, 3.10.7.4;
//! RFC 5961, 3.2).

use crate::platform::Platform;
use rlvs_packet::checksum::sum_of;
use rlvs_packet::ethernet::Ethernet;
use rlvs_packet::ipv4::Ipv4;
use rlvs_packet::ipv6::Ipv6;
use rlvs_packet::protocol;
use rlvs_packet::tcp::{RST, Tcp};
use zerocopy::network_endian::U32;

/// Turns the packet with an IPv4 header at `l3` and a TCP header at `l4`, whose acknowledgement number counts, into a reset for its sender.
#[inline(always)]
pub(crate) fn reset4<P: Platform>(platform: &P, l3: usize, l4: usize) -> Option<()> {
    let ip = platform.read::<Ipv4>(l3)?;
    let outer = Ipv4::originated(protocol::TCP, Tcp::LENGTH as u16, ip.destination, ip.source);
    let addresses = sum_of(&outer.source) + sum_of(&outer.destination);
    answer(platform, l4, l3 + Ipv4::LENGTH, addresses)?;
    platform.write(l3, outer.with_checksum())
}

/// The same for IPv6.
#[inline(always)]
pub(crate) fn reset6<P: Platform>(platform: &P, l3: usize, l4: usize) -> Option<()> {
    let ip = platform.read::<Ipv6>(l3)?;
    let outer = Ipv6::originated(protocol::TCP, Tcp::LENGTH as u16, ip.destination, ip.source);
    let addresses = sum_of(&outer.source) + sum_of(&outer.destination);
    answer(platform, l4, l3 + Ipv6::LENGTH, addresses)?;
    platform.write(l3, outer)
}

/// Writes the reset for the TCP header at `from` to `l4`, cuts the packet after it, and turns the link header round; `addresses` is the
/// sum of both.
#[inline(always)]
fn answer<P: Platform>(platform: &P, from: usize, l4: usize, addresses: u32) -> Option<()> {
    let link = platform.read::<Ethernet>(0)?;
    let packet = platform.read::<Tcp>(from)?;
    let ports = [packet.destination, packet.source];
    let reset = Tcp::bare(ports, packet.acknowledgement, U32::ZERO, RST, addresses);
    // What was between the IP header and the TCP header, and behind that, goes.
    let surplus = platform.length() as i32 - (l4 + Tcp::LENGTH) as i32;
    if surplus > 0 && !platform.move_tail(-surplus) {
        return None;
    }
    platform.write(l4, reset)?;
    platform.write(0, Ethernet { destination: link.source, source: link.destination, kind: link.kind })
}
