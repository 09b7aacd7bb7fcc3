//! Templates: what binds the clients of a persistent service to a destination.
//!
//! A CPU that changes a template, or takes its slot, holds it meanwhile: with the mark that a forward entry has while it
//! gets its peer. Only the number of connections goes down without that, for a template that controls one stays.

use super::family::Family;
use super::slot;
use super::slot::{Meta, Slot};
use crate::config::Tick;
use crate::order;
use crate::platform::Memory;

/// How often a template that another CPU holds is tried again.
const HOLD_TRIES: u32 = 64;

/// What a template's timeout becomes when it has passed while connections of the template live.
const POSTPONED_SECONDS: u32 = 60;

/// A template's state while no connection of it has shown packets both ways.
pub const FRESH: u8 = 0;
/// A template's state since then.
pub const ASSURED: u8 = 1;

/// What IPVS calls a template's state.
pub fn name(state: u8) -> &'static str {
    if state & ASSURED != 0 { "ASSURED" } else { "NONE" }
}

/// One connection more for the template in the slot `index`, found under this version: 1, and its time starts anew;
/// 0 if it is gone. Scalars only, for it is a BPF function of its own.
#[inline(never)]
pub fn bind<M: Memory, F: Family>(memory: &M, index: u32, version: u32, now: u32) -> u32 {
    let Some(place) = slot::<M, F>(memory, index) else { return 0 };
    if hold(memory, place, version).is_none() {
        return 0;
    }
    let now = Tick(now);
    if now.until(place.expires()) <= 0 && place.controls().load(order::PLAIN) != 0 {
        place.set_timeout(postponed());
    }
    memory.add(place.controls(), 1);
    place.refresh(now.plus(place.timeout()));
    memory.add(&place.meta, Meta::PAIRED);
    1
}

/// One connection less.
#[inline(always)]
pub fn unbind<M: Memory, F: Family>(memory: &M, index: u32) {
    if let Some(place) = slot::<M, F>(memory, index) {
        memory.add(place.controls(), 1u32.wrapping_neg());
    }
}

/// Makes the template unknown to clients: 1; 0 if it is gone already. It stays until its time has passed and its
/// connections are over.
#[inline(never)]
pub fn invalidate<M: Memory, F: Family>(memory: &M, index: u32, version: u32) -> u32 {
    let Some(place) = slot::<M, F>(memory, index) else { return 0 };
    if hold(memory, place, version).is_none() {
        return 0;
    }
    place.hide();
    memory.add(&place.meta, Meta::PAIRED);
    1
}

/// Keeps a template whose time has passed for another while if it controls connections; false if it does not.
pub fn postpone<M: Memory, F: Family>(memory: &M, place: &Slot<F>, meta: Meta, now: Tick) -> bool {
    if !meta.is_template() || place.controls().load(order::PLAIN) == 0 {
        return false;
    }
    if hold(memory, place, meta.version()).is_some() {
        place.set_timeout(postponed());
        place.refresh(now.plus(postponed()));
        memory.add(&place.meta, Meta::PAIRED);
    }
    true
}

/// A connection of the template has shown packets both ways.
#[inline(always)]
pub fn assure<M: Memory, F: Family>(memory: &M, index: u32) {
    let Some(place) = slot::<M, F>(memory, index) else { return };
    let mut tries = 0;
    while tries < HOLD_TRIES {
        tries += 1;
        let meta = place.meta();
        if !meta.is_template() || meta.state() == ASSURED {
            break;
        }
        if memory.exchange(&place.meta, meta.0, meta.with_state(ASSURED).0) {
            break;
        }
    }
}

/// Frees the template's slot unless it controls connections; false if it does, or if somebody else changed it.
#[inline(always)]
pub(super) fn release<M: Memory, F: Family>(memory: &M, place: &Slot<F>, meta: Meta) -> bool {
    if !memory.exchange(&place.meta, meta.0, meta.pairing().0) {
        return false;
    }
    if place.controls().load(order::PLAIN) != 0 {
        memory.add(&place.meta, Meta::PAIRED);
        return false;
    }
    let destination = place.destination_and_peer(meta).and_then(|(index, _)| memory.destination(index));
    place.publish(meta.freed());
    if let Some(destination) = destination {
        memory.add(&destination.persistent, 1u32.wrapping_neg());
        destination.check_lower();
    }
    true
}

/// Takes hold of the live template of this version; `None` if it is gone, or held by others for too long.
#[inline(always)]
fn hold<M: Memory, F: Family>(memory: &M, place: &Slot<F>, version: u32) -> Option<Meta> {
    let mut tries = 0;
    while tries < HOLD_TRIES {
        tries += 1;
        let meta = place.meta();
        if !meta.is_live() || !meta.is_template() || meta.version() != version {
            return None;
        }
        memory.interleave();
        if !meta.is_pairing() && memory.exchange(&place.meta, meta.0, meta.pairing().0) {
            return Some(meta);
        }
    }
    None
}

/// [`POSTPONED_SECONDS`] in ticks.
fn postponed() -> u32 {
    Tick::in_seconds(POSTPONED_SECONDS)
}
