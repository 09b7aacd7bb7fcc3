//! IPv6 (RFC 8200).

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Extension headers that may stand before the transport header, by their numbers (RFC 8200, 4).
pub mod extension {
    /// Options for every router on the way.
    pub const HOP_BY_HOP: u8 = 0;
    /// Stations that the packet has to pass.
    pub const ROUTING: u8 = 43;
    /// The packet is a fragment.
    pub const FRAGMENT: u8 = 44;
    /// Options for the receiver.
    pub const DESTINATION_OPTIONS: u8 = 60;
}

/// The header of a fragment (RFC 8200, 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FragmentHeader {
    /// What follows it in the whole packet.
    pub next_header: u8,
    /// Not used.
    pub reserved: u8,
    /// Offset in units of 8 octets (13 bits), two unused bits, and "more fragments".
    pub offset: U16,
    /// Tells the fragments of one packet from those of another.
    pub identification: U32,
}

impl FragmentHeader {
    /// Octets of the header.
    pub const LENGTH: usize = 8;
    /// "More fragments" in [`Self::offset`].
    pub const MORE: u16 = 1;
    /// The offset in [`Self::offset`]: not zero means that the packet is a fragment other than the first.
    pub const OFFSET_MASK: u16 = 0xfff8;
}

/// Octets that every IPv6 link carries (RFC 8200, 5).
pub const MTU_MIN: u32 = 1280;

/// The fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv6 {
    /// Version (4 bits), traffic class (8 bits), flow label (20 bits).
    pub version_class_flow: U32,
    /// Octets after this header.
    pub payload_length: U16,
    /// What follows: [`crate::protocol`] or an extension header.
    pub next_header: u8,
    /// Hops that are left.
    pub hop_limit: u8,
    /// Sender.
    pub source: [u8; 16],
    /// Receiver.
    pub destination: [u8; 16],
}

impl Ipv6 {
    /// Octets of the header.
    pub const LENGTH: usize = 40;
    /// Octets of an address.
    pub const ADDRESS: usize = 16;
    /// Offset of [`Self::hop_limit`].
    pub const HOP_LIMIT: usize = 7;

    /// The header of a packet of this machine's own with so many octets behind it.
    #[inline(always)]
    pub fn originated(next_header: u8, octets: u16, source: [u8; 16], destination: [u8; 16]) -> Self {
        Ipv6 {
            version_class_flow: Self::version_and_class(0),
            payload_length: U16::new(octets),
            next_header,
            hop_limit: crate::HOPS,
            source,
            destination,
        }
    }

    /// The first 32 bits for a traffic class, with flow label 0.
    #[inline(always)]
    pub fn version_and_class(class: u8) -> U32 {
        U32::new(6 << 28 | (class as u32) << 20)
    }

    /// DSCP and ECN.
    #[inline(always)]
    pub fn traffic_class(&self) -> u8 {
        (self.version_class_flow.get() >> 20) as u8
    }
}
