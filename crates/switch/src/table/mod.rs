//! The connection table: set-associative, one cache line per IPv4 connection and direction, two for IPv6.
//!
//! ```text
//!   tuple --keyed hash--> home bucket and home slot in it; other slots and buckets only where the home slot says so
//!   bucket = 8 slots; slot = tuple | meta (version, state, flags) | expiry | destination, peer | rewrite, hop | trace
//! ```
//!
//! - **A look-up reads one line** as a rule, also one that finds nothing: the home slot has a trace of all entries whose home it is
//!   and that are elsewhere. Traces of entries that have gone are wiped by the director's process.
//! - A packet is looked up by its own tuple. A NATed connection has two entries: the **forward** entry (client
//!   to VIP) and the **reply** entry (real server to client), each other's `peer`. The forward entry's state is
//!   the connection's; the reply entry keeps a copy, so that plain acknowledgements touch one line only.
//! - **Readers take no lock.** They read `meta`, the tuple, the rest, and `meta` again: if its version moved,
//!   the slot changed hands in between and the read does not count.
//! - **A slot changes hands by one compare-and-exchange of `meta`**: free or expired to busy (a new version),
//!   then busy to live when its content is written. Whoever takes the forward entry away from a connection
//!   accounts for it (the destination's numbers) and frees the reply entry.
//! - **A forward entry gets its peer while it is marked** as pairing, and then has another mark for good. Marks are part of `meta`, so whoever
//!   meant to release it or to change its state knowing only one entry has to look again.
//! - **A template** binds the clients of a persistent service to a destination. It is an entry of its own, under a tuple
//!   that no packet has, and counts the connections that it controls; while there are any, nobody takes its slot.
//! - **An FTP control connection** stays as long as its data connections, by the same means.
//! - **Creation of equal tuples is serialised** by a striped lock, taken for a bounded time.
//! - An entry is **expired** when its time has passed and so has its peer's: to packets it does not exist
//!   any more, and its slot can be taken.
//! - When there is no free slot: expired entries, then embryonic TCP connections, then closing ones and UDP.
//!   Established TCP connections are never evicted: the new connection is refused instead.

pub mod control;
pub mod family;
pub mod insert;
pub mod lookup;
pub mod release;
pub mod slot;
pub mod template;
pub mod trace;

pub use family::{CALL, Family, TEMPLATE, Tuple, V4, V6, mark_address};
pub use slot::{Binding, Entry, Kind, Meta, Slot, Target, Told};

use crate::platform::Memory;

/// Slots of a bucket.
pub const WAYS: usize = 8;
/// log2 of [`WAYS`].
pub const WAYS_SHIFT: u32 = 3;
/// Buckets that an entry may be in: its home, and others when that is full. With 80 % of all slots in use, three
/// entries in four are at home, and of a million none finds all sixteen full; with 50 %, 97 in 100 are at home.
pub const PROBES: u32 = 16;
/// Locks that serialise the creation of equal tuples; a power of two.
pub const STRIPES: u32 = 1 << 14;

/// Neighbouring slots.
#[repr(C, align(64))]
pub struct Bucket<F: Family> {
    /// The slots.
    pub slots: [Slot<F>; WAYS],
}

impl<F: Family> Default for Bucket<F> {
    /// Empty.
    fn default() -> Self {
        Bucket { slots: core::array::from_fn(|_| Slot::default()) }
    }
}

/// A bucket of the IPv4 table: 512 octets.
pub type Bucket4 = Bucket<V4>;
/// A bucket of the IPv6 table: 1024 octets.
pub type Bucket6 = Bucket<V6>;

/// The number of the `probe`-th bucket for a hash.
#[inline(always)]
pub(crate) fn home(hash: u64, probe: u32, mask: u32) -> u32 {
    onward(hash as u32 & mask, first_way(hash), probe, mask)
}

/// The number of the `probe`-th bucket for entries whose home slot is this way of this bucket: all go the same way from there, so that
/// one who knows the slot knows where they may be.
#[inline(always)]
fn onward(bucket: u32, way: u32, probe: u32, mask: u32) -> u32 {
    // Neighbours go far apart (a multiple of the golden ratio); an odd step visits every bucket of a table whose size is a power of two.
    let step = (bucket << WAYS_SHIFT | way).wrapping_mul(0x9e37_79b1) >> 7 | 1;
    bucket.wrapping_add(step.wrapping_mul(probe)) & mask
}

/// The way at which an entry is looked for first, and put first.
#[inline(always)]
pub(crate) fn first_way(hash: u64) -> u32 {
    (hash >> 61) as u32
}

/// The way of a bucket that is searched as the `nth` for entries whose first one is this.
///
/// The first two are neighbours in a pair of cache lines, which many CPUs fetch together: the search goes up from an even way, down from an odd one.
#[inline(always)]
pub(crate) fn nth_way(first: u32, nth: u32) -> u32 {
    first.wrapping_add(direction(first).wrapping_mul(nth)) & (WAYS as u32 - 1)
}

/// As which one a way is searched: the reverse of [`nth_way`].
#[inline(always)]
fn turn_of(first: u32, way: u32) -> u32 {
    direction(first).wrapping_mul(way.wrapping_sub(first)) & (WAYS as u32 - 1)
}

/// 1 or -1.
#[inline(always)]
fn direction(first: u32) -> u32 {
    1u32.wrapping_sub(2 * (first & 1))
}

/// The slot of this number.
#[inline(always)]
pub fn slot<M: Memory, F: Family>(memory: &M, index: u32) -> Option<&Slot<F>> {
    let bucket = F::bucket(memory, index >> WAYS_SHIFT)?;
    bucket.slots.get((index as usize) & (WAYS - 1))
}
