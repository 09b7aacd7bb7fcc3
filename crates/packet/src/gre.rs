//! Generic Routing Encapsulation (RFC 2784), version 0 without key and sequence number (RFC 2890).

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// "Checksum present" in [`Gre::flags`].
pub const CHECKSUM_PRESENT: u16 = 0x8000;

/// The header; with [`CHECKSUM_PRESENT`], a [`GreChecksum`] follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Gre {
    /// Flags, and the version in the lowest three bits.
    pub flags: U16,
    /// What follows: an EtherType.
    pub kind: U16,
}

impl Gre {
    /// Octets of the header without checksum.
    pub const LENGTH: usize = 4;
}

/// The optional part with the checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct GreChecksum {
    /// Over the GRE header and all that follows, as it stands in memory.
    pub checksum: [u8; 2],
    /// Zero.
    pub reserved: U16,
}

impl GreChecksum {
    /// Octets of the optional part.
    pub const LENGTH: usize = 4;
}
