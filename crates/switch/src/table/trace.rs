//! Where entries are that are not in their home slot: a word of that slot says so, so that a look-up need not search.
//!
//! Bits 1 to 7: in the way that comes so much later in the search ([`super::nth_way`]), in the same bucket, there is such an entry, or has
//! been. Bits 17 to 31, less 16: in so many buckets on. What is in another bucket leaves its trace by the ways there, too: in the slot that
//! its way would be. Bit 0: such an entry came since somebody last wiped a part of it.

use super::family::Family;
use super::{Bucket, PROBES, WAYS, WAYS_SHIFT, first_way, home, nth_way, onward, slot, turn_of};
use crate::cell::AtomicU32;
use crate::config::Config;
use crate::order;
use crate::platform::Memory;

/// The first bit of those that stand for buckets.
const BUCKETS: u32 = 16;

/// The bit of what came since a part was wiped.
const FRESH: u32 = 1;

const _: () = assert!(WAYS as u32 <= BUCKETS && BUCKETS + PROBES <= u32::BITS);

/// Whether there are entries elsewhere.
#[inline(always)]
pub(super) fn is_left(trace: u32) -> bool {
    trace & !FRESH != 0
}

/// Whether there is an entry in the way that comes so much later in the search.
#[inline(always)]
pub(super) fn has_way(trace: u32, nth: u32) -> bool {
    trace >> nth & 1 != 0
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

/// Leaves the trace of an entry that is about to come into this way of its `probe`-th bucket. Only for whoever has claimed that slot.
#[inline(always)]
pub(super) fn leave<M: Memory, F: Family>(memory: &M, hash: u64, mask: u32, probe: u32, way: u32) {
    if let Some(bucket) = F::bucket(memory, home(hash, probe, mask)) {
        leave_in_bucket(memory, bucket, hash, turn_of(first_way(hash), way));
    }
    if probe != 0
        && let Some(bucket) = F::bucket(memory, home(hash, 0, mask))
    {
        add(memory, bucket, hash, 1 << (BUCKETS + (probe & (PROBES - 1))));
    }
}

/// The part of [`leave`] that is in the bucket which the entry comes into, as the `nth` in the search.
#[inline(always)]
pub(super) fn leave_in_bucket<M: Memory, F: Family>(memory: &M, bucket: &Bucket<F>, hash: u64, nth: u32) {
    if nth != 0 {
        add(memory, bucket, hash, 1 << nth);
    }
}

#[inline(always)]
fn add<M: Memory, F: Family>(memory: &M, bucket: &Bucket<F>, hash: u64, bit: u32) {
    let cell = &bucket.slots[first_way(hash) as usize].elsewhere;
    let bits = bit | FRESH;
    if cell.load(order::PLAIN) & bits != bits {
        memory.set(cell, bits);
    }
}

/// Takes back what this slot says of entries that have gone. Not for programs that run for packets: it looks at all entries that the slot
/// leads to.
///
/// Whether the slot leads elsewhere afterwards.
pub fn wipe<M: Memory, F: Family>(memory: &M, config: &Config, index: u32) -> bool {
    let Some(place) = slot::<M, F>(memory, index) else { return false };
    wipe_by(memory, &place.elsewhere, |trace| in_use::<M, F>(memory, config, index, trace))
}

/// Takes back what the bucket's slots say of its ways that are free. Less than [`wipe`] does, and quickly done.
pub fn wipe_vacant<M: Memory, F: Family>(memory: &M, bucket: &Bucket<F>) {
    for (way, place) in bucket.slots.iter().enumerate() {
        wipe_by(memory, &place.elsewhere, |trace| {
            let is_vacant = |nth: &u32| bucket.slots[nth_way(way as u32, *nth) as usize].meta().is_free();
            let vacant = (1..WAYS as u32).filter(|nth| has_way(trace, *nth)).filter(is_vacant);
            vacant.fold(trace, |trace, nth| trace & !(1 << nth))
        });
    }
}

/// Takes back what is not `in_use`, unless somebody leaves a trace meanwhile; whether there is one afterwards.
///
/// Whoever leaves a trace has claimed its slot before. If that was before [`FRESH`] is taken back here, `in_use` sees that the slot is
/// taken; if it was later, the trace is fresh again.
fn wipe_by<M: Memory>(memory: &M, cell: &AtomicU32, in_use: impl Fn(u32) -> u32) -> bool {
    let trace = cell.load(order::LOAD);
    // Most have none, or are right: those are left alone.
    if !is_left(trace) || in_use(trace & !FRESH) == trace & !FRESH {
        return is_left(trace);
    }
    memory.interleave();
    let settled = trace & !FRESH;
    if !memory.exchange(cell, trace, settled) {
        return true;
    }
    memory.interleave();
    let right = in_use(settled);
    memory.interleave();
    !memory.exchange(cell, settled, right) || is_left(right)
}

/// The bits of the trace in this slot that lead to an entry still.
fn in_use<M: Memory, F: Family>(memory: &M, config: &Config, index: u32, trace: u32) -> u32 {
    let mask = F::mask(config);
    let (bucket, way) = (index >> WAYS_SHIFT, index & (WAYS as u32 - 1));
    let mut bits = 0;
    for nth in (1..WAYS as u32).filter(|nth| has_way(trace, *nth)) {
        let there = bucket << WAYS_SHIFT | nth_way(way, nth);
        // Whatever bucket it comes from.
        if is_taken_by::<M, F>(memory, config, there, |hash| first_way(hash) == way) {
            bits |= 1 << nth;
        }
    }
    for on in (1..PROBES).filter(|on| has_bucket(trace, *on)) {
        let there = onward(bucket, way, on, mask) << WAYS_SHIFT;
        let is_from_here = |hash| first_way(hash) == way && home(hash, 0, mask) == bucket;
        if (0..WAYS as u32).any(|way| is_taken_by::<M, F>(memory, config, there | way, is_from_here)) {
            bits |= 1 << (BUCKETS + on);
        }
    }
    bits
}

/// Whether there is an entry in this slot whose hash is such a one, or an entry that is being written, whatever its hash.
fn is_taken_by<M: Memory, F: Family>(
    memory: &M,
    config: &Config,
    index: u32,
    is_such: impl Fn(u64) -> bool,
) -> bool {
    let Some(place) = slot::<M, F>(memory, index) else { return false };
    let meta = place.meta();
    if !meta.is_live() {
        return !meta.is_free();
    }
    // If it changed hands meanwhile, who has taken it leaves a trace.
    place.tuple(meta).is_some_and(|tuple| is_such(F::hash(config, &tuple)))
}
