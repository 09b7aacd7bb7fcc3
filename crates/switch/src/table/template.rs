//! Templates: what binds the clients of a persistent service to a destination, as controllers ([`super::control`]).

use super::control::{HOLD_TRIES, hold, hold_idle};
use super::family::Family;
use super::slot;
use super::slot::{Meta, Slot, Told};
use crate::config::Tick;
use crate::platform::Memory;

/// A template's state while no connection of it has shown packets both ways.
pub const FRESH: u8 = 0;
/// A template's state since then.
pub const ASSURED: u8 = 1;

/// What IPVS calls a template's state.
pub fn name(state: u8) -> &'static str {
    if state & ASSURED != 0 { "ASSURED" } else { "NONE" }
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
    memory.add(&place.meta, Meta::LET_GO);
    1
}

/// Gives the template state and timeout that another director tells of, and lets its time start anew: 1; 0 if it is gone.
#[inline(never)]
pub fn import<M: Memory, F: Family>(
    memory: &M,
    index: u32,
    version_and_state: u32,
    now: u32,
    timeout: u32,
) -> u32 {
    let Some(place) = slot::<M, F>(memory, index) else { return 0 };
    let (version, state) = (version_and_state >> 16, version_and_state as u8);
    if hold(memory, place, version).is_none() {
        return 0;
    }
    let expires = Tick(now).plus(timeout);
    place.import_told(Told::new(state, expires), timeout);
    place.refresh(expires);
    memory.add(&place.meta, Meta::LET_GO);
    if state & ASSURED != 0 {
        assure::<M, F>(memory, index);
    }
    1
}

/// A connection of the template has shown packets both ways. Other controllers stay as they are.
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
    if hold_idle(memory, place, meta).is_none() {
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
