//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! The sum does not depend on the byte order as long as all operands are in the same one, so everything
//! here works on words as they stand in memory and never swaps octets.

use zerocopy::{Immutable, IntoBytes};

/// Adds the 16-bit words of `value` up, without folding. An odd last octet counts as the first of its word.
#[inline(always)]
pub fn sum_of<T: IntoBytes + Immutable>(value: &T) -> u32 {
    let octets = value.as_bytes();
    let mut sum = 0u32;
    let mut i = 0;
    while i + 1 < octets.len() {
        sum += u16::from_ne_bytes([octets[i], octets[i + 1]]) as u32;
        i += 2;
    }
    if i < octets.len() {
        sum += u16::from_ne_bytes([octets[i], 0]) as u32;
    }
    sum
}

/// Folds a sum to 16 bits.
#[inline(always)]
pub fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// The checksum of data that add up to `sum`.
#[inline(always)]
pub fn finish(sum: u32) -> [u8; 2] {
    (!fold(sum as u64)).to_ne_bytes()
}

/// The checksum of a UDP packet that adds up to `sum`: 0 means "none", so a computed 0 is written as its other form,
/// 0xffff (RFC 768).
#[inline(always)]
pub fn finish_udp(sum: u64) -> [u8; 2] {
    present((!fold(sum)).to_ne_bytes())
}

#[inline(always)]
fn present(checksum: [u8; 2]) -> [u8; 2] {
    if checksum == [0; 2] { [0xff; 2] } else { checksum }
}

/// The sum of a pseudo-header without the addresses: protocol, and length of the transport packet (RFC 768, RFC 8200).
#[inline(always)]
pub fn sum_of_pseudo(protocol: u8, length: u16) -> u32 {
    u16::from_ne_bytes([0, protocol]) as u32 + u16::from_ne_bytes(length.to_be_bytes()) as u32
}

/// The difference that a checksum must follow: octets that went away and octets that came.
///
/// Several replacements (an address, a port) are collected and applied in one go, to one or more checksums.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change(u64);

impl Change {
    /// Nothing changed yet.
    #[inline(always)]
    pub fn new() -> Self {
        Change(0)
    }

    /// A 16-bit word was replaced.
    #[inline(always)]
    pub fn word(self, old: [u8; 2], new: [u8; 2]) -> Self {
        Change(self.0 + (!u16::from_ne_bytes(old)) as u64 + u16::from_ne_bytes(new) as u64)
    }

    /// A 32-bit word was replaced.
    #[inline(always)]
    pub fn double_word(self, old: u32, new: u32) -> Self {
        Change(self.0 + (!old) as u64 + new as u64)
    }

    /// Both changes.
    #[inline(always)]
    pub fn then(self, other: Change) -> Self {
        Change(self.0 + other.0)
    }

    /// The checksum after the change (RFC 1624, equation 3).
    #[inline(always)]
    pub fn apply(self, checksum: [u8; 2]) -> [u8; 2] {
        (!fold(self.0 + (!u16::from_ne_bytes(checksum)) as u64)).to_ne_bytes()
    }

    /// The same for UDP, where 0 means "none", and stays none.
    #[inline(always)]
    pub fn apply_udp(self, checksum: [u8; 2]) -> [u8; 2] {
        if checksum == [0, 0] {
            return checksum;
        }
        present(self.apply(checksum))
    }
}

/// The checksum after one 16-bit word was replaced.
#[inline(always)]
pub fn update16(checksum: [u8; 2], old: [u8; 2], new: [u8; 2]) -> [u8; 2] {
    Change::new().word(old, new).apply(checksum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn full(octets: &[u8; 24]) -> [u8; 2] {
        finish(sum_of(octets))
    }

    #[test]
    fn example_of_rfc_1071() {
        let octets = [0x00u8, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum_of(&octets) as u64).to_ne_bytes(), [0xdd, 0xf2]);
    }

    #[test]
    fn udp_without_checksum_keeps_none() {
        assert_eq!(Change::new().double_word(1, 2).apply_udp([0, 0]), [0, 0]);
    }

    proptest! {
        #[test]
        fn incremental_equals_full(mut data: [u8; 24], address: [u8; 4], port: [u8; 2]) {
            // A checksum of 0xffff (a sum of zero) needs all-zero data, which no IP packet is.
            data[0] = 0x45;
            let before = full(&data);
            let change = Change::new()
                .double_word(u32::from_ne_bytes(data[8..12].try_into().unwrap()), u32::from_ne_bytes(address))
                .word(data[20..22].try_into().unwrap(), port);
            data[8..12].copy_from_slice(&address);
            data[20..22].copy_from_slice(&port);
            prop_assert_eq!(change.apply(before), full(&data));
        }
    }
}
