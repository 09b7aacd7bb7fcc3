//! NAT: one address and its port are replaced, and the checksums follow.

use crate::frame::Frame;
use crate::ip::{Ip, Side};
use crate::platform::Platform;
use rlvs_packet::protocol;
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
    let port_offset = if side == Side::Source { frame.l4 } else { frame.l4 + 2 };
    let old_port = platform.read::<[u8; 2]>(port_offset)?;
    platform.write(port_offset, port)?;
    let change = change.word(old_port, port);
    if frame.protocol == protocol::TCP {
        let offset = frame.l4 + Tcp::CHECKSUM;
        let checksum = platform.read::<[u8; 2]>(offset)?;
        platform.write(offset, change.apply(checksum))
    } else {
        let offset = frame.l4 + Udp::CHECKSUM;
        let checksum = platform.read::<[u8; 2]>(offset)?;
        platform.write(offset, change.apply_udp(checksum))
    }
}
