//! NAT: one address and its port are replaced, and the checksums follow.

use crate::frame::Frame;
use crate::ip::{Ip, Side};
use crate::platform::Platform;
use rlvs_packet::protocol;
use rlvs_packet::sctp::{self, Sctp};
use rlvs_packet::tcp::Tcp;
use rlvs_packet::udp::Udp;

/// Replaces address and port of one side, and takes one hop off.
#[inline(always)]
pub(super) fn rewrite<P: Platform, F: Ip>(
    platform: &P,
    frame: &Frame,
    side: Side,
    address: F::Address,
    port: [u8; 2],
) -> Option<()> {
    let change = F::replace(platform, frame, side, address)?;
    if matches!(frame.protocol, protocol::AH | protocol::ESP) {
        return Some(());
    }
    let port_offset = if side == Side::Source { frame.l4 } else { frame.l4 + 2 };
    let old_port = platform.read::<[u8; 2]>(port_offset)?;
    platform.write(port_offset, port)?;
    let change = change.word(old_port, port);
    match frame.protocol {
        protocol::TCP => {
            let offset = frame.l4 + Tcp::CHECKSUM;
            let checksum = platform.read::<[u8; 2]>(offset)?;
            platform.write(offset, change.apply(checksum))
        }
        protocol::SCTP => {
            // Addresses are no part of it.
            if old_port == port {
                return Some(());
            }
            let offset = frame.l4 + Sctp::CHECKSUM;
            let checksum = platform.read::<[u8; 4]>(offset)?;
            let ([a, b], [c, d]) = (old_port, port);
            let difference = match side {
                Side::Source => [a ^ c, b ^ d, 0, 0],
                Side::Destination => [0, 0, a ^ c, b ^ d],
            };
            let length = frame.length - (frame.l4 - frame.l3) as u32;
            platform.write(offset, follow(checksum, difference, length))
        }
        _ => {
            let offset = frame.l4 + Udp::CHECKSUM;
            let checksum = platform.read::<[u8; 2]>(offset)?;
            platform.write(offset, change.apply_udp(checksum))
        }
    }
}

/// SCTP's checksum after this difference of the ports, both as they stand in memory.
#[inline(always)]
fn follow(checksum: [u8; 4], difference: [u8; 4], length: u32) -> [u8; 4] {
    let change = sctp_change(u32::from_ne_bytes(difference), length);
    (u32::from_ne_bytes(checksum) ^ change).to_ne_bytes()
}

/// What the difference of the ports does to the checksum. Scalars only, for it is a BPF function of its own: it takes
/// hundreds of instructions.
#[inline(never)]
fn sctp_change(difference: u32, length: u32) -> u32 {
    u32::from_ne_bytes(sctp::update([0; 4], [0; 4], difference.to_ne_bytes(), length as u16))
}
