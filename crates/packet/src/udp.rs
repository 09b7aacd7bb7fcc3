//! UDP (RFC 768).

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Udp {
    /// Sender's port.
    pub source: [u8; 2],
    /// Receiver's port.
    pub destination: [u8; 2],
    /// Octets of header and data.
    pub length: U16,
    /// Checksum, as it stands in memory; 0: the sender computed none.
    pub checksum: [u8; 2],
}

impl Udp {
    /// Octets of the header.
    pub const LENGTH: usize = 8;
    /// Offset of [`Self::checksum`].
    pub const CHECKSUM: usize = 6;
}
