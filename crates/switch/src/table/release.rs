//! Taking a connection out of the table.

use super::control::{self, hold_idle};
use super::family::Family;
use super::slot::{Meta, Slot};
use super::template;
use crate::platform::Memory;
use crate::scheduler::ranking;
use crate::state;

/// Ends the connection that the slot `index`, read as `meta`, belongs to: forward entry, reply entry, and the
/// destination's number of connections. False if somebody else changed it meanwhile.
///
/// The compare-and-exchange of the forward entry decides who does it; a state that changes at the same time
/// makes it fail.
#[inline(always)]
pub fn release<M: Memory, F: Family>(memory: &M, index: u32, meta: Meta) -> bool {
    release_packed::<M, F>(memory, index, meta.0) != 0
}

/// [`release`] with scalars only, for it is a BPF function of its own.
#[inline(never)]
fn release_packed<M: Memory, F: Family>(memory: &M, index: u32, meta: u32) -> u32 {
    release_either::<M, F>(memory, index, Meta(meta)) as u32
}

#[inline(always)]
fn release_either<M: Memory, F: Family>(memory: &M, index: u32, meta: Meta) -> bool {
    let Some(this) = super::slot::<M, F>(memory, index) else { return false };
    if !meta.is_reply() {
        return release_forward(memory, this, index, meta);
    }
    let forward_index = this.peer();
    let Some(forward) = super::slot::<M, F>(memory, forward_index) else { return false };
    let forward_meta = forward.meta();
    if forward_meta.is_live() && !forward_meta.is_reply() && forward.peer() == index {
        return release_forward(memory, forward, forward_index, forward_meta);
    }
    // Its connection is gone: whoever released that will free this entry too, or has been killed before it could.
    memory.exchange(&this.meta, meta.0, meta.freed().0)
}

#[inline(always)]
fn release_forward<M: Memory, F: Family>(memory: &M, forward: &Slot<F>, index: u32, meta: Meta) -> bool {
    if meta.is_pairing() {
        return false;
    }
    if meta.is_template() {
        return template::release(memory, forward, meta);
    }
    let controller = forward.controller();
    let Some((destination, peer)) = forward.destination_and_peer(meta) else { return false };
    let protocol = forward.protocol();
    if meta.is_controller() {
        let Some(held) = hold_idle(memory, forward, meta) else { return false };
        if !memory.exchange(&forward.meta, held.0, meta.freed().0) {
            // A packet has just changed its state.
            memory.add(&forward.meta, Meta::LET_GO);
            return false;
        }
    } else if !memory.exchange(&forward.meta, meta.0, meta.freed().0) {
        return false;
    }
    memory.interleave();
    if peer != index
        && let Some(reply) = super::slot::<M, F>(memory, peer)
    {
        free(memory, reply, |meta| meta.is_live() && meta.is_reply() && reply.peer() == index);
    }
    if let Some(destination) = memory.destination(destination) {
        let number = if state::is_active(protocol, meta.state()) {
            &destination.active
        } else {
            &destination.inactive
        };
        memory.add(number, 1u32.wrapping_neg());
        destination.check_lower();
        ranking::forget(memory, destination);
    }
    if let Some(controller) = controller {
        control::unbind::<M, F>(memory, controller);
    }
    true
}

/// Frees a reply entry while it is the one that is meant, against packets that change its copy of the state.
#[inline(always)]
pub(super) fn free<M: Memory, F: Family>(memory: &M, reply: &Slot<F>, is_meant: impl Fn(Meta) -> bool) {
    let mut tries = 0;
    while tries < 4 {
        let meta = reply.meta();
        if !is_meant(meta) || memory.exchange(&reply.meta, meta.0, meta.freed().0) {
            return;
        }
        tries += 1;
    }
}
