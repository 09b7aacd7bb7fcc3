//! SCTP (RFC 9260).

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Types of [`Chunk`]s that open, change or end an association (RFC 9260, 3.2).
pub mod chunk {
    /// Opens an association.
    pub const INIT: u8 = 1;
    /// Answers it.
    pub const INIT_ACK: u8 = 2;
    /// Ends the association at once.
    pub const ABORT: u8 = 6;
    /// The sender has nothing more to say.
    pub const SHUTDOWN: u8 = 7;
    /// Nor has the other side.
    pub const SHUTDOWN_ACK: u8 = 8;
    /// Something went wrong.
    pub const ERROR: u8 = 9;
    /// Returns the cookie of the INIT ACK.
    pub const COOKIE_ECHO: u8 = 10;
    /// The cookie was right.
    pub const COOKIE_ACK: u8 = 11;
    /// The end.
    pub const SHUTDOWN_COMPLETE: u8 = 14;
}

/// The common header; chunks follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Sctp {
    /// Sender's port.
    pub source: [u8; 2],
    /// Receiver's port.
    pub destination: [u8; 2],
    /// Which association the receiver takes the packet for.
    pub verification_tag: U32,
    /// CRC32c over the whole SCTP packet with this field zero, least significant octet first (RFC 9260, 6.8 and
    /// appendix A).
    pub checksum: [u8; 4],
}

impl Sctp {
    /// Octets of the header.
    pub const LENGTH: usize = 12;
    /// Offset of [`Self::checksum`].
    pub const CHECKSUM: usize = 8;
}

/// The header of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Chunk {
    /// [`chunk`].
    pub kind: u8,
    /// Depends on the type.
    pub flags: u8,
    /// Octets of the chunk, this header included, without the padding to a multiple of four.
    pub length: U16,
}

impl Chunk {
    /// Octets of the header.
    pub const LENGTH: usize = 4;
}

/// The checksum of an SCTP packet of `length` octets after its ports were replaced: `old` and `new` are both ports, as
/// they stand in memory.
///
/// A CRC is linear: it changes by the CRC of the difference, which is zero but for the first four octets. What the
/// octets behind do to it is a multiplication, put together from [`SHIFTS`], so the packet itself need not be read.
/// Without branches, and so of one price in the kernel's verifier.
#[inline(always)]
pub fn update(checksum: [u8; 4], old: [u8; 4], new: [u8; 4], length: u16) -> [u8; 4] {
    let mut change = u32::from_le_bytes(old) ^ u32::from_le_bytes(new);
    let mut place = 0;
    while place < SHIFTS.len() {
        let shift = &SHIFTS[place][(length >> (4 * place) & 15) as usize];
        let (mut shifted, mut part) = (0, 0);
        while part < shift.len() {
            shifted ^= shift[part][(change >> (4 * part) & 15) as usize];
            part += 1;
        }
        change = shifted;
        place += 1;
    }
    (u32::from_le_bytes(checksum) ^ change).to_le_bytes()
}

/// CRC32c's polynomial, as everything here with the coefficient of x^31 in the lowest bit.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// What octets that follow do to each four bits of a remainder: their number by its hexadecimal digits, the lowest first.
static SHIFTS: [[Shift; 16]; 4] = shifts();

/// A multiplication: products of each four bits.
type Shift = [[u32; 16]; 8];

const fn shifts() -> [[Shift; 16]; 4] {
    let mut shifts = [[[[0; 16]; 8]; 16]; 4];
    // x^8, a single octet; x^31 is the lowest bit.
    let mut unit = 1 << (31 - 8);
    let mut place = 0;
    while place < 4 {
        // x^0.
        let mut power = 1 << 31;
        let mut digit = 0;
        while digit < 16 {
            shifts[place][digit] = multiplication(power);
            power = multiply(power, unit);
            digit += 1;
        }
        unit = power;
        place += 1;
    }
    shifts
}

const fn multiplication(by: u32) -> Shift {
    let mut products = [[0; 16]; 8];
    let mut bit = 0;
    while bit < 32 {
        let product = multiply(1 << bit, by);
        let mut value = 0;
        while value < 16 {
            if value >> (bit % 4) & 1 == 1 {
                products[bit / 4][value] ^= product;
            }
            value += 1;
        }
        bit += 1;
    }
    products
}

/// The product of two polynomials modulo [`POLYNOMIAL`].
const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut i = 32;
    while i > 0 {
        i -= 1;
        product ^= b & ((a >> i) & 1).wrapping_neg();
        b = (b >> 1) ^ (POLYNOMIAL & (b & 1).wrapping_neg());
    }
    product
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crc::{CRC_32_ISCSI, Crc};
    use proptest::prelude::*;
    use std::vec::Vec;

    fn full(packet: &[u8]) -> [u8; 4] {
        let mut packet = Vec::from(packet);
        packet[Sctp::CHECKSUM..][..4].fill(0);
        Crc::<u32>::new(&CRC_32_ISCSI).checksum(&packet).to_le_bytes()
    }

    proptest! {
        #[test]
        fn update_equals_full(packet in proptest::collection::vec(any::<u8>(), 12..2000), new: [u8; 4]) {
            let old = [packet[0], packet[1], packet[2], packet[3]];
            let mut changed = packet.clone();
            changed[..4].copy_from_slice(&new);
            prop_assert_eq!(update(full(&packet), old, new, packet.len() as u16), full(&changed));
        }
    }

    #[test]
    fn the_longest_packet() {
        let mut packet = std::vec![0x5a; 65_515];
        let before = full(&packet);
        packet[..4].copy_from_slice(&[1, 2, 3, 4]);
        assert_eq!(update(before, [0x5a; 4], [1, 2, 3, 4], 65_515), full(&packet));
    }
}
