//! GRE (RFC 2784), with or without checksum.

use crate::ip::Ip;
use crate::platform::Platform;
use rlvs_packet::checksum;
use rlvs_packet::gre::{CHECKSUM_PRESENT, Gre, GreChecksum};
use zerocopy::network_endian::U16;

/// Octets of the header.
#[inline(always)]
pub(super) fn length(with_checksum: bool) -> usize {
    if with_checksum { Gre::LENGTH + GreChecksum::LENGTH } else { Gre::LENGTH }
}

/// Writes the header, with a checksum if the sum of what follows is given.
#[inline(always)]
pub(super) fn write<P: Platform, F: Ip>(platform: &P, offset: usize, inside: Option<u16>) -> Option<()> {
    let flags = if inside.is_some() { CHECKSUM_PRESENT } else { 0 };
    let header = Gre { flags: U16::new(flags), kind: U16::new(F::ETHER_TYPE) };
    platform.write(offset, header)?;
    if let Some(inside) = inside {
        let checksum = checksum::finish(checksum::sum_of(&header) + inside as u32);
        platform.write(offset + Gre::LENGTH, GreChecksum { checksum, reserved: U16::ZERO })?;
    }
    Some(())
}
