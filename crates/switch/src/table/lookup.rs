//! Finding the entry for a packet.

use core::ops::ControlFlow;

use super::family::{Family, Tuple};
use super::slot::{Meta, Slot};
use super::{PROBES, WAYS, WAYS_SHIFT, first_way, home, nth_way, slot, trace};
use crate::config::{Config, Tick};
use crate::order;
use crate::platform::Memory;

/// A live entry.
pub struct Found<'a, F: Family> {
    /// Where it is.
    pub slot: &'a Slot<F>,
    /// The slot's index.
    pub index: u32,
    /// Its version, state and flags when it was found.
    pub meta: Meta,
}

/// The live entry of a tuple, expired or not.
#[inline(always)]
pub fn find<'a, M: Memory, F: Family>(
    memory: &'a M,
    config: &Config,
    tuple: &Tuple<F>,
    hash: u64,
) -> Option<Found<'a, F>> {
    let number = home(hash, 0, F::mask(config));
    let bucket = F::bucket(memory, number)?;
    let way = first_way(hash);
    let slot = &bucket.slots[way as usize];
    let meta = slot.meta();
    if slot.holds(tuple) && meta.is_live() {
        return Some(Found { slot, index: number << WAYS_SHIFT | way, meta });
    }
    let trace = slot.elsewhere.load(order::PLAIN);
    if !trace::is_left(trace) {
        return None;
    }
    let mut found = find_at_home(memory, tuple, hash);
    if found == NOTHING && trace::leaves_bucket(trace) {
        found = find_beyond(memory, tuple, hash);
    }
    let (index, meta) = unpack(found)?;
    Some(Found { slot: super::slot(memory, index)?, index, meta })
}

/// Looks in the home bucket where the home slot's trace leads: index and meta, or [`NOTHING`]. BPF functions of their own, this and the next
/// one: few look-ups come to them.
#[inline(never)]
fn find_at_home<M: Memory, F: Family>(memory: &M, tuple: &Tuple<F>, hash: u64) -> u64 {
    let Some(config) = memory.config() else { return NOTHING };
    find_in(memory, tuple, home(hash, 0, F::mask(config)), hash)
}

/// Looks in other buckets where the trace leads.
#[inline(never)]
fn find_beyond<M: Memory, F: Family>(memory: &M, tuple: &Tuple<F>, hash: u64) -> u64 {
    let Some(config) = memory.config() else { return NOTHING };
    let mask = F::mask(config);
    let trace = trace::read::<M, F>(memory, home(hash, 0, mask), hash);
    let [packed] = memory.repeat(PROBES - 1, [NOTHING], |number, [packed]| {
        if !trace::has_bucket(trace, number + 1) {
            return ControlFlow::Continue(());
        }
        *packed = find_in(memory, tuple, home(hash, number + 1, mask), hash);
        if *packed == NOTHING { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    packed
}

/// [`find`] where speed is not all, as a BPF function of its own: index and meta, or [`NOTHING`].
#[inline(never)]
fn find_packed<M: Memory, F: Family>(memory: &M, tuple: &Tuple<F>, hash: u64) -> u64 {
    let Some(config) = memory.config() else { return NOTHING };
    find(memory, config, tuple, hash).map_or(NOTHING, |found| pack(found.index, found.meta))
}

/// Index and meta in one word.
#[inline(always)]
pub(crate) fn pack(index: u32, meta: Meta) -> u64 {
    (index as u64) << 32 | meta.0 as u64
}

/// No slot: no index is that large.
pub(crate) const NOTHING: u64 = u64::MAX;

/// The live entry of a tuple, expired or not: its index and meta.
#[inline(always)]
pub(crate) fn locate<M: Memory, F: Family>(memory: &M, tuple: &Tuple<F>, hash: u64) -> Option<(u32, Meta)> {
    unpack(find_packed(memory, tuple, hash))
}

/// The reverse of [`pack`].
#[inline(always)]
pub(crate) fn unpack(packed: u64) -> Option<(u32, Meta)> {
    (packed != NOTHING).then_some(((packed >> 32) as u32, Meta(packed as u32)))
}

/// The live entry in a bucket: in the way that is its first, or where the trace there leads to.
#[inline(always)]
fn find_in<M: Memory, F: Family>(memory: &M, tuple: &Tuple<F>, number: u32, hash: u64) -> u64 {
    let Some(bucket) = F::bucket(memory, number) else { return NOTHING };
    let first = first_way(hash);
    let trace = bucket.slots[first as usize].elsewhere.load(order::PLAIN);
    let mut i = 0;
    while i < WAYS as u32 {
        if i == 0 || trace::has_way(trace, i) {
            let way = nth_way(first, i);
            let slot = &bucket.slots[way as usize];
            let meta = slot.meta();
            if slot.holds(tuple) && meta.is_live() {
                return pack(number << WAYS_SHIFT | way, meta);
            }
        }
        i += 1;
    }
    NOTHING
}

/// Whether a connection has expired: this slot's time has passed, and its peer's has too. One that controls
/// others has not, nor has such a template.
#[inline(always)]
pub fn is_expired<M: Memory, F: Family>(memory: &M, place: &Slot<F>, index: u32, now: Tick) -> bool {
    if now.until(place.expires()) > 0 {
        return false;
    }
    let peer = place.peer();
    if peer == index {
        return !place.is_in_control(place.meta());
    }
    match slot::<M, F>(memory, peer) {
        Some(other) if other.meta().is_live() && other.peer() == index => {
            let forward = if place.meta().is_reply() { other } else { place };
            now.until(other.expires()) <= 0 && !forward.is_in_control(forward.meta())
        }
        _ => true,
    }
}
