//! Destination hashing (`dh`): who asks for an address is sent to the member that this address leads to.

#[cfg(not(target_arch = "bpf"))]
use super::hash::Entrant;
use super::hash::{Found, Key, look, multiplicative};
use crate::platform::Platform;
use crate::service::MemberList;

/// Slots of the table.
pub(super) const SLOTS: usize = 256;

/// The member that the address that the client wants leads to, if it is eligible.
#[inline(always)]
pub(super) fn choose<P: Platform>(platform: &P, list: &MemberList, key: Key) -> Option<u32> {
    match look(platform, list, slot(key)) {
        Found::Destination(index) => Some(index),
        _ => None,
    }
}

/// The slot for what the client wants.
#[inline(always)]
pub(super) fn slot(key: Key) -> u32 {
    multiplicative(key.address)
}

/// The members in turn, whatever their weights.
#[cfg(not(target_arch = "bpf"))]
pub(super) fn fill(entrants: &[Entrant], table: &mut [u32]) {
    for (slot, entrant) in table.iter_mut().zip(entrants.iter().cycle()) {
        *slot = entrant.index;
    }
}
