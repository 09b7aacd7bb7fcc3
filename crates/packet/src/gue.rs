//! Generic UDP Encapsulation (draft-ietf-intarea-gue-09, variant 0), without extensions.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The header; it follows a UDP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Gue {
    /// Variant (upper 2 bits), "control" (1 bit), and 32-bit words of extensions (lower 5 bits).
    pub variant_length: u8,
    /// What follows: [`crate::protocol`].
    pub protocol: u8,
    /// Which extensions there are.
    pub flags: U16,
}

impl Gue {
    /// Octets of the header without extensions.
    pub const LENGTH: usize = 4;
}
