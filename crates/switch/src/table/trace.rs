//! Where entries are that are not in their home slot: a word of that slot says so, so that a look-up need not search.
//!
//! Bits 1 to 7: so many ways on from the home slot's, in the same bucket, there is such an entry, or has been. Bits 17 to 31, less
//! 16: in so many buckets on. What is in another bucket leaves its trace by the ways there, too: in the slot that its way
//! would be.

use super::family::Family;
use super::{PROBES, WAYS, first_way, home};
use crate::order;
use crate::platform::Memory;

/// The first bit of those that stand for buckets.
const BUCKETS: u32 = 16;

const _: () = assert!(WAYS as u32 <= BUCKETS && BUCKETS + PROBES <= u32::BITS);

/// Whether there is an entry so many ways on.
#[inline(always)]
pub(super) fn has_way(trace: u32, on: u32) -> bool {
    trace >> on & 1 != 0
}

/// Whether there is one so many buckets on.
#[inline(always)]
pub(super) fn has_bucket(trace: u32, on: u32) -> bool {
    trace >> (BUCKETS + (on & (PROBES - 1))) & 1 != 0
}

/// Whether there is one in another bucket at all.
#[inline(always)]
pub(super) fn leaves_bucket(trace: u32) -> bool {
    trace >> BUCKETS != 0
}

/// The trace of the slot that is an entry's home, or would be if this were its bucket.
#[inline(always)]
pub(super) fn read<M: Memory, F: Family>(memory: &M, bucket: u32, hash: u64) -> u32 {
    let bucket = F::bucket(memory, bucket);
    bucket.map_or(0, |bucket| bucket.slots[first_way(hash) as usize].elsewhere.load(order::PLAIN))
}

/// Leaves the trace of an entry that is about to come into this way of its `probe`-th bucket.
#[inline(always)]
pub(super) fn leave<M: Memory, F: Family>(memory: &M, hash: u64, mask: u32, probe: u32, way: u32) {
    let on = way.wrapping_sub(first_way(hash)) & (WAYS as u32 - 1);
    if on != 0 {
        add::<M, F>(memory, home(hash, probe, mask), hash, 1 << on);
    }
    if probe != 0 {
        add::<M, F>(memory, home(hash, 0, mask), hash, 1 << (BUCKETS + (probe & (PROBES - 1))));
    }
}

#[inline(always)]
fn add<M: Memory, F: Family>(memory: &M, bucket: u32, hash: u64, bit: u32) {
    let Some(bucket) = F::bucket(memory, bucket) else { return };
    let cell = &bucket.slots[first_way(hash) as usize].elsewhere;
    if cell.load(order::PLAIN) & bit == 0 {
        memory.set(cell, bit);
    }
}
