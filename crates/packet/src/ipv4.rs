//! IPv4 (RFC 791).

use crate::checksum;
use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// "Don't fragment" in [`Ipv4::fragment`].
pub const DONT_FRAGMENT: u16 = 0x4000;
/// "More fragments" and the offset: not zero means that the packet is a fragment.
pub const FRAGMENT_MASK: u16 = 0x3fff;
/// The offset alone: not zero means that the packet is a fragment other than the first.
pub const OFFSET_MASK: u16 = 0x1fff;
/// Octets that every IPv4 link carries unfragmented (RFC 791, 3.2).
pub const MTU_MIN: u32 = 68;

/// The fixed part of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv4 {
    /// Version (upper 4 bits) and header length in 32-bit words (lower 4 bits).
    pub version_length: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// Octets of the packet, header included.
    pub total_length: U16,
    /// Tells the fragments of one packet from those of another.
    pub identification: U16,
    /// Flags (3 bits) and fragment offset in units of 8 octets (13 bits).
    pub fragment: U16,
    /// Hops that are left.
    pub ttl: u8,
    /// What follows: [`crate::protocol`].
    pub protocol: u8,
    /// Header checksum, as it stands in memory.
    pub checksum: [u8; 2],
    /// Sender.
    pub source: [u8; 4],
    /// Receiver.
    pub destination: [u8; 4],
}

impl Ipv4 {
    /// Octets of the header without options.
    pub const LENGTH: usize = 20;
    /// Octets of an address.
    pub const ADDRESS: usize = 4;

    /// Version and length of a header without options.
    pub const PLAIN: u8 = 0x45;

    /// Octets of the header, options included: 0 to 60; less than 20 is malformed.
    #[inline(always)]
    pub fn header_length(&self) -> usize {
        ((self.version_length & 0x0f) as usize) << 2
    }

    /// What changes with each hop.
    #[inline(always)]
    pub fn hops(&self) -> Hops {
        Hops { ttl: self.ttl, protocol: self.protocol, checksum: self.checksum }
    }

    /// The header, without options and checksum, of a packet of this machine's own with so many octets behind it: not to be fragmented.
    #[inline(always)]
    pub fn originated(protocol: u8, octets: u16, source: [u8; 4], destination: [u8; 4]) -> Self {
        Ipv4 {
            version_length: Self::PLAIN,
            tos: 0,
            total_length: U16::new(Self::LENGTH as u16 + octets),
            identification: U16::ZERO,
            fragment: U16::new(DONT_FRAGMENT),
            ttl: crate::HOPS,
            protocol,
            checksum: [0; 2],
            source,
            destination,
        }
    }

    /// Computes the checksum of a header without options.
    #[inline(always)]
    pub fn with_checksum(mut self) -> Self {
        self.checksum = [0; 2];
        self.checksum = checksum::finish(checksum::sum_of(&self));
        self
    }
}

/// What changes in the header with each hop; at [`Hops::OFFSET`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Hops {
    /// Hops that are left.
    pub ttl: u8,
    /// [`Ipv4::protocol`].
    pub protocol: u8,
    /// [`Ipv4::checksum`].
    pub checksum: [u8; 2],
}

impl Hops {
    /// Where it is in the header.
    pub const OFFSET: usize = 8;

    /// With another TTL, and the checksum mended (RFC 1624).
    #[inline(always)]
    pub fn with_ttl(self, ttl: u8) -> Self {
        let checksum = checksum::update16(self.checksum, [self.ttl, self.protocol], [ttl, self.protocol]);
        Hops { ttl, checksum, ..self }
    }

    /// With one hop less; there must be one. The checksum grows by what the TTL loses (RFC 1141, with the carry that RFC 1624 asks for).
    #[inline(always)]
    pub fn decremented(self) -> Self {
        let sum = u16::from_ne_bytes(self.checksum) as u32 + u16::from_ne_bytes([1, 0]) as u32;
        let sum = if sum >= 0xffff { sum + 1 } else { sum };
        Hops { ttl: self.ttl.wrapping_sub(1), checksum: (sum as u16).to_ne_bytes(), ..self }
    }
}

/// What NAT changes in the header: all from [`Hops::OFFSET`] on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct HopsAndAddresses {
    /// What changes with each hop.
    pub hops: Hops,
    /// Sender and receiver.
    pub addresses: [[u8; Ipv4::ADDRESS]; 2],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_less_is_another_ttl() {
        for ttl in [1, 2, 64, 255] {
            for checksum in 0..=u16::MAX {
                let hops = Hops { ttl, protocol: 6, checksum: checksum.to_ne_bytes() };
                assert_eq!(hops.decremented(), hops.with_ttl(ttl - 1), "TTL {ttl}, checksum {checksum:#x}");
            }
        }
    }
}
