//! Finding the entry for a packet.

use core::ops::ControlFlow;

use super::family::{Family, Tuple};
use super::slot::{Meta, Slot};
use super::{PROBES, WAYS, WAYS_SHIFT, home, slot};
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
    let mask = F::mask(config);
    let first = home(hash, 0, mask);
    if let Some(found) = find_in(memory, tuple, first, hash) {
        return Some(found);
    }
    if F::bucket(memory, first)?.slots[0].reach.load(order::PLAIN) == 0 {
        return None;
    }
    let (index, meta) = unpack(find_beyond(memory, tuple, hash))?;
    Some(Found { slot: slot(memory, index)?, index, meta })
}

/// Looks in the buckets after the first, as far as its entries reach, which few look-ups come to: index and meta, or
/// [`NOTHING`]. A BPF function of its own.
#[inline(never)]
fn find_beyond<M: Memory, F: Family>(memory: &M, tuple: &Tuple<F>, hash: u64) -> u64 {
    let Some(config) = memory.config() else { return NOTHING };
    let mask = F::mask(config);
    let Some(bucket) = F::bucket(memory, home(hash, 0, mask)) else { return NOTHING };
    let reach = bucket.slots[0].reach.load(order::PLAIN);
    let [packed] = memory.repeat(reach.min(PROBES - 1), [NOTHING], |number, [packed]| {
        let Some(found) = find_in(memory, tuple, home(hash, number + 1, mask), hash) else {
            return ControlFlow::Continue(());
        };
        *packed = pack(found);
        ControlFlow::Break(())
    });
    packed
}

/// [`find`] where speed is not all, as a BPF function of its own: index and meta, or [`NOTHING`].
#[inline(never)]
fn find_packed<M: Memory, F: Family>(memory: &M, tuple: &Tuple<F>, hash: u64) -> u64 {
    let Some(config) = memory.config() else { return NOTHING };
    find(memory, config, tuple, hash).map_or(NOTHING, pack)
}

/// Index and meta in one word.
#[inline(always)]
pub(crate) fn pack<F: Family>(found: Found<'_, F>) -> u64 {
    (found.index as u64) << 32 | found.meta.0 as u64
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

/// The way at which an entry is looked for first, and put first: most look-ups touch one line only.
#[inline(always)]
pub(super) fn first_way(hash: u64) -> u32 {
    (hash >> 61) as u32
}

#[inline(always)]
fn find_in<'a, M: Memory, F: Family>(
    memory: &'a M,
    tuple: &Tuple<F>,
    number: u32,
    hash: u64,
) -> Option<Found<'a, F>> {
    let bucket = F::bucket(memory, number)?;
    let first = first_way(hash);
    let mut i = 0;
    while i < WAYS as u32 {
        let way = first.wrapping_add(i) & (WAYS as u32 - 1);
        let slot = &bucket.slots[way as usize];
        let meta = slot.meta();
        if slot.holds(tuple) && meta.is_live() {
            return Some(Found { slot, index: number << WAYS_SHIFT | way, meta });
        }
        i += 1;
    }
    None
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
