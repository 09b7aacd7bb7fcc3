//! What the director tells the switch as a whole: table sizes, hash key, timeouts.

use crate::cell::{AtomicU32, AtomicU64};
use crate::order;
use crate::state::tcp;

/// A point in time: units of 2^26 ns (67.1 ms) of the coarse monotonic clock, modulo 2^32 (nine years).
///
/// Coarse on purpose: a connection's expiry time is written at most once per tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick(pub u32);

impl Tick {
    /// log2 of the nanoseconds in a tick.
    pub const SHIFT: u32 = 26;

    /// The tick in which a time of the monotonic clock falls.
    #[inline(always)]
    pub fn from_nanoseconds(nanoseconds: u64) -> Tick {
        Tick((nanoseconds >> Self::SHIFT) as u32)
    }

    /// Ticks in so many seconds, rounded up.
    pub fn in_seconds(seconds: u32) -> u32 {
        (seconds as u64 * 1_000_000_000).div_ceil(1 << Self::SHIFT).min(i32::MAX as u64) as u32
    }

    /// Ticks from `self` to `later`; negative if `later` has passed.
    #[inline(always)]
    pub fn until(self, later: Tick) -> i32 {
        later.0.wrapping_sub(self.0) as i32
    }

    /// So many ticks on.
    #[inline(always)]
    pub fn plus(self, ticks: u32) -> Tick {
        Tick(self.0.wrapping_add(ticks))
    }
}

/// Words of the hash key: one to start with, and one for each 32-bit word of the longest tuple.
pub const SEEDS: usize = 11;

/// The switch's settings, in shared memory. Written by the director, read by every packet.
#[derive(Default)]
#[repr(C, align(64))]
pub struct Config {
    /// The hash key: random, secret, fixed for the life of the tables.
    pub seed: [AtomicU64; SEEDS],
    /// Buckets of the IPv4 table less one; the number of buckets is a power of two.
    pub mask4: AtomicU32,
    /// Buckets of the IPv6 table less one.
    pub mask6: AtomicU32,
    /// Grows whenever a route, neighbour or link changed: connections look their reply's way up again.
    pub generation: AtomicU32,
    /// CPUs that the counters are laid out for.
    pub cpus: AtomicU32,
    /// Ticks that a TCP connection lives after a packet, by state.
    pub tcp_timeouts: [AtomicU32; tcp::STATES],
    /// Ticks that a UDP "connection" lives after a packet.
    pub udp_timeout: AtomicU32,
}

impl Config {
    /// Buckets less one of the IPv4 table.
    #[inline(always)]
    pub fn mask4(&self) -> u32 {
        self.mask4.load(order::PLAIN)
    }

    /// Buckets less one of the IPv6 table.
    #[inline(always)]
    pub fn mask6(&self) -> u32 {
        self.mask6.load(order::PLAIN)
    }

    /// CPUs that the counters are laid out for.
    #[inline(always)]
    pub fn cpus(&self) -> u32 {
        self.cpus.load(order::PLAIN)
    }

    /// The generation of routes and neighbours, as connections keep it.
    #[inline(always)]
    pub fn generation(&self) -> u16 {
        self.generation.load(order::PLAIN) as u16
    }
}
