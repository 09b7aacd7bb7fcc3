//! Finding the entry for a packet.

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
    let reach = F::bucket(memory, first)?.slots[0].reach.load(order::PLAIN);
    let mut probe = 1;
    while probe < PROBES {
        if probe > reach {
            break;
        }
        if let Some(found) = find_in(memory, tuple, home(hash, probe, mask), hash) {
            return Some(found);
        }
        probe += 1;
    }
    None
}

/// [`find`] where speed is not all, as a BPF function of its own: index and meta, or [`NOTHING`].
#[inline(never)]
fn find_packed<M: Memory, F: Family>(memory: &M, tuple: &Tuple<F>, hash: u64) -> u64 {
    let Some(config) = memory.config() else { return NOTHING };
    match find(memory, config, tuple, hash) {
        Some(found) => (found.index as u64) << 32 | found.meta.0 as u64,
        None => NOTHING,
    }
}

/// No slot: no index is that large.
pub(super) const NOTHING: u64 = u64::MAX;

/// The live entry of a tuple, expired or not: its index and meta.
#[inline(always)]
pub(crate) fn locate<M: Memory, F: Family>(memory: &M, tuple: &Tuple<F>, hash: u64) -> Option<(u32, Meta)> {
    unpack(find_packed(memory, tuple, hash))
}

/// Index and meta from one word.
#[inline(always)]
pub(super) fn unpack(packed: u64) -> Option<(u32, Meta)> {
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
    now.until(place.expires()) <= 0 && has_ended::<M, F>(memory, index, now.0) != 0
}

/// Whether (1) or not (0) nothing keeps the connection of a slot whose own time has passed: few packets ask, so it is a BPF
/// function of its own.
#[inline(never)]
fn has_ended<M: Memory, F: Family>(memory: &M, index: u32, now: u32) -> u32 {
    let Some(place) = slot::<M, F>(memory, index) else { return 1 };
    let (meta, peer) = (place.meta(), place.peer());
    if peer == index {
        return !place.is_in_control(meta) as u32;
    }
    match slot::<M, F>(memory, peer) {
        Some(other) if other.meta().is_live() && other.peer() == index => {
            let forward = if meta.is_reply() { other } else { place };
            (Tick(now).until(other.expires()) <= 0 && !forward.is_in_control(forward.meta())) as u32
        }
        _ => 1,
    }
}
