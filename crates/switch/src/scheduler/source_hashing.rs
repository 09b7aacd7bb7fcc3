//! Source hashing (`sh`): a client always comes to the same member.

#[cfg(not(target_arch = "bpf"))]
use super::hash::Entrant;
use super::hash::{Found, Key, first_available, look, multiplicative};
use super::{FALLBACK, PORT};
use crate::platform::Platform;
use crate::service::MemberList;

/// Slots of the table.
pub(super) const SLOTS: usize = 256;

/// The member that the client's address leads to (with [`PORT`], its address and port); if it is not eligible, nobody,
/// or with [`FALLBACK`] whom the next eligible slot leads to.
#[inline(always)]
pub(super) fn choose<P: Platform>(platform: &P, list: &MemberList, flags: u32, key: Key) -> Option<u32> {
    let hash = slot(flags, key);
    match look(platform, list, hash) {
        Found::Destination(index) => return Some(index),
        Found::Unavailable if flags & FALLBACK != 0 => {}
        _ => return None,
    }
    // IPVS adds the hash once more to where its search starts.
    let start = hash.wrapping_mul(2);
    first_available(platform, list, SLOTS as u32, |i| start.wrapping_add(i) % SLOTS as u32)
}

/// The client's slot.
#[inline(always)]
pub(super) fn slot(flags: u32, key: Key) -> u32 {
    let port = if flags & PORT != 0 { key.port as u32 } else { 0 };
    multiplicative(port.wrapping_add(key.address))
}

/// The members in turn, each as often in a row as its weight says, at least once.
#[cfg(not(target_arch = "bpf"))]
pub(super) fn fill(entrants: &[Entrant], table: &mut [u32]) {
    let turns = entrants.iter().cycle().flat_map(|entrant| {
        // No weight above the table's size can make a difference.
        core::iter::repeat_n(entrant.index, entrant.weight.clamp(1, SLOTS as u32) as usize)
    });
    for (slot, index) in table.iter_mut().zip(turns) {
        *slot = index;
    }
}
