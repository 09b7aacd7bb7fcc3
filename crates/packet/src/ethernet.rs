//! Ethernet II frames and IEEE 802.1Q tags.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// EtherType of a customer VLAN tag (802.1Q).
pub const VLAN: u16 = 0x8100;

/// A MAC address.
pub type Mac = [u8; 6];

/// The header of an untagged frame, or the part before the first VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ethernet {
    /// Who the frame is for.
    pub destination: Mac,
    /// Who sent it.
    pub source: Mac,
    /// What follows: an EtherType.
    pub kind: U16,
}

impl Ethernet {
    /// Octets of the header.
    pub const LENGTH: usize = 14;

    /// Whether the frame is for a group (multicast or broadcast).
    #[inline(always)]
    pub fn is_multicast(&self) -> bool {
        self.destination[0] & 1 != 0
    }
}

/// A VLAN tag, as it stands between the source address' EtherType [`VLAN`] and the next EtherType.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct VlanTag {
    /// Priority (3 bits), drop eligibility (1 bit) and VLAN number (12 bits).
    pub control: U16,
    /// What follows: an EtherType.
    pub kind: U16,
}

impl VlanTag {
    /// Octets of a tag.
    pub const LENGTH: usize = 4;
}
