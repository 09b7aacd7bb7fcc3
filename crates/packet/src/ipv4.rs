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
    /// Offset of [`Self::ttl`].
    pub const TTL: usize = 8;

    /// Version and length of a header without options.
    pub const PLAIN: u8 = 0x45;

    /// Octets of the header, options included: 0 to 60; less than 20 is malformed.
    #[inline(always)]
    pub fn header_length(&self) -> usize {
        ((self.version_length & 0x0f) as usize) << 2
    }

    /// Computes the checksum of a header without options.
    #[inline(always)]
    pub fn with_checksum(mut self) -> Self {
        self.checksum = [0; 2];
        self.checksum = checksum::finish(checksum::sum_of(&self));
        self
    }

    /// Takes one hop off the TTL, which must not be 0.
    #[inline(always)]
    pub fn decrement_ttl(&mut self) {
        self.set_ttl(self.ttl.wrapping_sub(1));
    }

    /// Replaces the TTL and mends the checksum (RFC 1141).
    #[inline(always)]
    pub fn set_ttl(&mut self, ttl: u8) {
        let old = [self.ttl, self.protocol];
        self.ttl = ttl;
        self.checksum = checksum::update16(self.checksum, old, [self.ttl, self.protocol]);
    }
}
