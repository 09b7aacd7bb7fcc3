//! TCP (RFC 9293).

use crate::{checksum, protocol};
use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The sender has nothing more to say.
pub const FIN: u8 = 0x01;
/// Opens a connection.
pub const SYN: u8 = 0x02;
/// Ends a connection at once.
pub const RST: u8 = 0x04;
/// The acknowledgement number counts.
pub const ACK: u8 = 0x10;

/// The fixed part of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Tcp {
    /// Sender's port.
    pub source: [u8; 2],
    /// Receiver's port.
    pub destination: [u8; 2],
    /// Sequence number.
    pub sequence: U32,
    /// Acknowledgement number.
    pub acknowledgement: U32,
    /// Header length in 32-bit words (upper 4 bits).
    pub data_offset: u8,
    /// [`FIN`], [`SYN`], [`RST`], [`ACK`] and others.
    pub flags: u8,
    /// Receive window.
    pub window: U16,
    /// Checksum, as it stands in memory.
    pub checksum: [u8; 2],
    /// Urgent pointer.
    pub urgent: U16,
}

impl Tcp {
    /// Octets of the header without options.
    pub const LENGTH: usize = 20;
    /// Offset of [`Self::checksum`].
    pub const CHECKSUM: usize = 16;

    /// The header of a segment without options, data and window. `addresses` is the sum of its packet's addresses
    /// ([`checksum::sum_of`]), for its checksum.
    #[inline(always)]
    pub fn bare(
        [source, destination]: [[u8; 2]; 2],
        sequence: U32,
        acknowledgement: U32,
        flags: u8,
        addresses: u32,
    ) -> Tcp {
        let mut header = Tcp {
            source,
            destination,
            sequence,
            acknowledgement,
            data_offset: ((Tcp::LENGTH / 4) << 4) as u8,
            flags,
            window: U16::ZERO,
            checksum: [0; 2],
            urgent: U16::ZERO,
        };
        let pseudo = checksum::sum_of_pseudo(protocol::TCP, Tcp::LENGTH as u16);
        header.checksum = checksum::finish(addresses + pseudo + checksum::sum_of(&header));
        header
    }
}
