//! Control: an entry that controls others stays as long as they do. Templates control the connections that they led to
//! a destination; FTP's control connections control their data connections.
//!
//! A CPU that changes a controller, or takes its slot, holds it meanwhile: with the mark that a forward entry has while it
//! gets its peer. Only the number of connections goes down without that, for a controller that controls one stays.

use super::family::Family;
use super::slot;
use super::slot::{Meta, Slot};
use crate::config::Tick;
use crate::order;
use crate::platform::Memory;

/// How often a controller that another CPU holds is tried again.
pub(super) const HOLD_TRIES: u32 = 64;

/// What a controller's timeout becomes when it has passed while its connections live.
const POSTPONED_SECONDS: u32 = 60;

/// So many connections more (0 or 1) for the controller in the slot `index`, found under this version: 1, and a template's time starts
/// anew; 0 if it is gone. Scalars only, for it is a BPF function of its own.
#[inline(never)]
pub fn bind<M: Memory, F: Family>(memory: &M, index: u32, version: u32, now: u32, connections: u32) -> u32 {
    let Some(place) = slot::<M, F>(memory, index) else { return 0 };
    let Some(meta) = hold(memory, place, version) else { return 0 };
    if meta.is_template() {
        let now = Tick(now);
        if now.until(place.expires()) <= 0 && place.controls().load(order::PLAIN) != 0 {
            place.set_timeout(postponed());
        }
        place.refresh(now.plus(place.timeout()));
    }
    memory.add(place.controls(), connections);
    memory.add(&place.meta, Meta::LET_GO);
    1
}

/// One connection less.
#[inline(always)]
pub fn unbind<M: Memory, F: Family>(memory: &M, index: u32) {
    if let Some(place) = slot::<M, F>(memory, index) {
        memory.add(place.controls(), 1u32.wrapping_neg());
    }
}

/// Keeps an entry whose time has passed for another while if it controls connections; false if it does not.
pub fn postpone<M: Memory, F: Family>(memory: &M, place: &Slot<F>, meta: Meta, now: Tick) -> bool {
    if !place.is_in_control(meta) {
        return false;
    }
    if let Some(meta) = hold(memory, place, meta.version()) {
        if meta.is_template() {
            place.set_timeout(postponed());
        }
        place.refresh(now.plus(postponed()));
        memory.add(&place.meta, Meta::LET_GO);
    }
    true
}

/// Takes hold of the live entry of this version, a controller from now on; what it was. `None` if it is gone, or held by
/// others for too long.
#[inline(always)]
pub(super) fn hold<M: Memory, F: Family>(memory: &M, place: &Slot<F>, version: u32) -> Option<Meta> {
    let mut tries = 0;
    while tries < HOLD_TRIES {
        tries += 1;
        let meta = place.meta();
        if !meta.is_live() || meta.is_reply() || meta.version() != version {
            return None;
        }
        memory.interleave();
        if !meta.is_pairing() && memory.exchange(&place.meta, meta.0, meta.controller().pairing().0) {
            return Some(meta);
        }
    }
    None
}

/// Takes hold of the controller that was found as `meta` and controls nothing, to free its slot; what it is then. `None` if it
/// is to stay.
#[inline(always)]
pub(super) fn hold_idle<M: Memory, F: Family>(memory: &M, place: &Slot<F>, meta: Meta) -> Option<Meta> {
    if !memory.exchange(&place.meta, meta.0, meta.pairing().0) {
        return None;
    }
    if place.controls().load(order::PLAIN) != 0 {
        memory.add(&place.meta, Meta::LET_GO);
        return None;
    }
    Some(meta.pairing())
}

/// [`POSTPONED_SECONDS`] in ticks.
fn postponed() -> u32 {
    Tick::in_seconds(POSTPONED_SECONDS)
}
