//! Where entries are that are not in their home slot: a word of that slot says so, so that a look-up need not search.
//!
//! Bits 1 to 7: so many ways on from the home slot's, in the same bucket, there is such an entry, or has been. Bits 17 to 31, less
//! 16: in so many buckets on. What is in another bucket leaves its trace by the ways there, too: in the slot that its way
//! would be. Bit 0: such an entry came since [`wipe`] looked last.

use super::family::Family;
use super::{PROBES, WAYS, WAYS_SHIFT, first_way, home, onward, slot};
use crate::config::Config;
use crate::order;
use crate::platform::Memory;

/// The first bit of those that stand for buckets.
const BUCKETS: u32 = 16;

/// The bit of what came since the last look.
const FRESH: u32 = 1;

const _: () = assert!(WAYS as u32 <= BUCKETS && BUCKETS + PROBES <= u32::BITS);

/// Whether there are entries elsewhere.
#[inline(always)]
pub(super) fn is_left(trace: u32) -> bool {
    trace & !FRESH != 0
}

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
    let bits = bit | FRESH;
    if cell.load(order::PLAIN) & bits != bits {
        memory.set(cell, bits);
    }
}

/// Takes back what the slot of this index says of entries that have gone. Not for programs that run for packets: it looks at all
/// entries that the slot leads to.
///
/// To be called for each slot in turn, with some seconds between two calls for the same one. Of the two the first notes that nothing is fresh, and the
/// second acts if that is so still: who left a trace before the first has put its entry into the table by then.
///
/// Whether the slot leads elsewhere afterwards.
pub fn wipe<M: Memory, F: Family>(memory: &M, config: &Config, index: u32) -> bool {
    let Some(place) = slot::<M, F>(memory, index) else { return false };
    let trace = place.elsewhere.load(order::LOAD);
    if trace == 0 {
        return false;
    }
    let right =
        if trace & FRESH != 0 { trace & !FRESH } else { in_use::<M, F>(memory, config, index, trace) };
    // Who has left a trace meanwhile is in the right.
    let is_wiped = right == trace || memory.exchange(&place.elsewhere, trace, right);
    !is_wiped || is_left(right)
}

/// The bits of the trace in this slot that lead to an entry still.
fn in_use<M: Memory, F: Family>(memory: &M, config: &Config, index: u32, trace: u32) -> u32 {
    let mask = F::mask(config);
    let (bucket, way) = (index >> WAYS_SHIFT, index & (WAYS as u32 - 1));
    let mut bits = 0;
    for on in (1..WAYS as u32).filter(|on| has_way(trace, *on)) {
        let there = bucket << WAYS_SHIFT | way.wrapping_add(on) & (WAYS as u32 - 1);
        // Whatever bucket it comes from.
        if hash_in::<M, F>(memory, config, there).is_some_and(|hash| first_way(hash) == way) {
            bits |= 1 << on;
        }
    }
    for on in (1..PROBES).filter(|on| has_bucket(trace, *on)) {
        let there = onward(bucket, way, on, mask) << WAYS_SHIFT;
        let is_from_here = |hash| first_way(hash) == way && home(hash, 0, mask) == bucket;
        if (0..WAYS as u32).any(|way| hash_in::<M, F>(memory, config, there | way).is_some_and(is_from_here))
        {
            bits |= 1 << (BUCKETS + on);
        }
    }
    bits
}

/// The hash of the entry in this slot.
fn hash_in<M: Memory, F: Family>(memory: &M, config: &Config, index: u32) -> Option<u64> {
    let place = slot::<M, F>(memory, index)?;
    let meta = place.meta();
    let tuple = place.tuple(meta).filter(|_| meta.is_live())?;
    Some(F::hash(config, &tuple))
}
