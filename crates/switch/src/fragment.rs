//! What first fragments leave for later ones: the ports, for as long as a receiver would wait for the rest.

use crate::config::Tick;
use crate::platform::View;
use crate::table::{Family, Tuple, V4, V6};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Ticks that a record lives: 30 s, as the kernel waits for the rest of a packet.
const LIFE: u32 = 448;
const _: () = assert!((LIFE as u64) << Tick::SHIFT >= 30_000_000_000);

/// What tells the fragments of one packet from those of another (RFC 791, 3.2; RFC 8200, 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct FragmentKey {
    /// Sender and receiver, as they lie in memory; IPv4 addresses take the first word.
    pub addresses: [u64; 4],
    /// The packet's identification.
    pub identification: u32,
    /// With IPv4 the protocol; 0 with IPv6, whose later fragments need not name it.
    pub protocol: u32,
}

/// What the first fragment said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct FragmentRecord {
    /// Both ports, as they stand in the packet.
    pub ports: u32,
    /// The transport protocol.
    pub protocol: u32,
    /// The tick in which the record ends.
    pub expires: u32,
    /// Keeps the size a multiple of 8.
    pub reserved: u32,
}

impl FragmentRecord {
    /// Whether the rest of the packet is still waited for.
    #[inline(always)]
    pub fn is_valid(&self, now: Tick) -> bool {
        now.until(Tick(self.expires)) > 0
    }
}

/// Octets of a frame that can be kept: one of Ethernet, with a tag.
pub const KEPT_MAX: usize = 1536;

/// A fragment that came before the first of its packet, on its way to the director.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct EarlyFragment {
    /// What its packet's fragments are known by.
    pub key: FragmentKey,
    /// Index of the interface that it came in by.
    pub interface: u32,
    /// Octets of the frame.
    pub length: u32,
    /// The frame; what follows it is undefined.
    pub frame: [u8; KEPT_MAX],
}

/// A packet that is ready to leave and too large for its way, on its way to the director, which sends it in fragments.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct LargePacket {
    /// Index of the interface that it leaves by.
    pub interface: u32,
    /// Octets that the way carries from the IP header on.
    pub mtu: u32,
    /// 1: the IP header is the director's own, a tunnel's; else 0.
    pub is_own: u32,
    /// Octets of the frame.
    pub length: u32,
    /// The frame; what follows it is undefined.
    pub frame: [u8; LARGE_MAX],
}

/// Octets of a frame that can be sent in fragments: more than native XDP receives.
pub const LARGE_MAX: usize = 4096 - 4 * size_of::<u32>();

/// An address family whose fragments can be told apart.
pub trait Keyed: Family {
    /// The key of a packet's fragments.
    fn key(tuple: &Tuple<Self>, identification: u32) -> FragmentKey
    where
        Self: Sized;
}

impl Keyed for V4 {
    #[inline(always)]
    fn key(tuple: &Tuple<V4>, identification: u32) -> FragmentKey {
        FragmentKey {
            addresses: [tuple.source as u64, 0, tuple.destination as u64, 0],
            identification,
            protocol: tuple.protocol as u32,
        }
    }
}

impl Keyed for V6 {
    #[inline(always)]
    fn key(tuple: &Tuple<V6>, identification: u32) -> FragmentKey {
        let ([a, b], [c, d]) = (tuple.source, tuple.destination);
        FragmentKey { addresses: [a, b, c, d], identification, protocol: 0 }
    }
}

/// Leaves the first fragment's ports for the others.
#[inline(always)]
pub(crate) fn remember<P: View, F: Keyed>(platform: &P, tuple: &Tuple<F>, identification: u32) {
    let [[a, b], [c, d]] = tuple.ports;
    let record = FragmentRecord {
        ports: u32::from_ne_bytes([a, b, c, d]),
        protocol: tuple.protocol as u32,
        expires: platform.now().plus(LIFE).0,
        reserved: 0,
    };
    platform.remember_fragment(&F::key(tuple, identification), &record);
}

/// The ports and the protocol that the packet's first fragment had; those in `tuple` do not count.
#[inline(always)]
pub(crate) fn recall<P: View, F: Keyed>(
    platform: &P,
    tuple: &Tuple<F>,
    identification: u32,
) -> Option<([[u8; 2]; 2], u8)> {
    let record = platform.fragment(&F::key(tuple, identification))?;
    if !record.is_valid(platform.now()) {
        return None;
    }
    let [a, b, c, d] = record.ports.to_ne_bytes();
    Some(([[a, b], [c, d]], record.protocol as u8))
}
