//! ICMP and ICMPv6 error messages (RFC 792, RFC 1191, RFC 4443).

use zerocopy::network_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The header of an error message; the packet that caused it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct IcmpError {
    /// Type: which kind of error.
    pub kind: u8,
    /// Code: which error of that kind.
    pub code: u8,
    /// Checksum, as it stands in memory.
    pub checksum: [u8; 2],
    /// The next hop's MTU where the error has one, else 0.
    pub mtu: U32,
}

impl IcmpError {
    /// Octets of the header.
    pub const LENGTH: usize = 8;
    /// Offset of [`Self::checksum`].
    pub const CHECKSUM: usize = 2;
}

/// Whether an ICMP message of this type tells what became of a packet: destination unreachable, source quench, time
/// exceeded (RFC 792).
#[inline(always)]
pub fn is_error(kind: u8) -> bool {
    matches!(kind, 3 | 4 | 11)
}

/// The same for ICMPv6 (RFC 4443, 2.1).
#[inline(always)]
pub fn is_error_v6(kind: u8) -> bool {
    kind < 128
}

/// An error that a director reports to the sender of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The packet ran out of hops.
    TimeExceeded,
    /// Nobody serves that port now.
    PortUnreachable,
    /// The packet does not fit the next link, of this MTU, and must not be fragmented.
    TooBig(u32),
}

impl Cause {
    /// In one word.
    #[inline(always)]
    pub fn pack(self) -> u32 {
        match self {
            Cause::TimeExceeded => 0,
            Cause::PortUnreachable => 1,
            // No MTU that anyone reports is that small.
            Cause::TooBig(mtu) => mtu.max(2),
        }
    }

    /// The reverse of [`Self::pack`].
    #[inline(always)]
    pub fn unpack(packed: u32) -> Cause {
        match packed {
            0 => Cause::TimeExceeded,
            1 => Cause::PortUnreachable,
            mtu => Cause::TooBig(mtu),
        }
    }

    /// Type, code and second word in ICMP.
    #[inline(always)]
    pub fn in_icmp(self) -> (u8, u8, u32) {
        match self {
            Cause::TimeExceeded => (11, 0, 0),
            Cause::PortUnreachable => (3, 3, 0),
            Cause::TooBig(mtu) => (3, 4, mtu & 0xffff),
        }
    }

    /// Type, code and second word in ICMPv6.
    #[inline(always)]
    pub fn in_icmpv6(self) -> (u8, u8, u32) {
        match self {
            Cause::TimeExceeded => (3, 0, 0),
            Cause::PortUnreachable => (1, 4, 0),
            Cause::TooBig(mtu) => (2, 0, mtu),
        }
    }
}
