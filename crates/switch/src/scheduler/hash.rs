//! What the hashing schedulers (dh, sh, mh) share: their tables and how a packet's address becomes a number.

use core::ops::ControlFlow;

use super::{NOBODY, Scheduler, destination_hashing, maglev_hashing, somebody, source_hashing};
use crate::cell::AtomicU32;
use crate::destination::Destination;
use crate::order;
use crate::platform::Platform;
use crate::service::MemberList;

/// Slots of a [`TablePart`]; a power of two.
pub const PART_SLOTS: usize = 256;

/// A slot that leads to nobody.
pub const EMPTY: u32 = u32::MAX;

/// A piece of a hash table, in shared memory. The director writes it, in place and slot by slot: a packet goes by the
/// old slot or the new one.
#[repr(C, align(64))]
pub struct TablePart {
    /// Destinations' indices, or [`EMPTY`].
    pub slots: [AtomicU32; PART_SLOTS],
}

#[cfg(not(target_arch = "bpf"))]
impl Default for TablePart {
    /// Leads to nobody.
    fn default() -> Self {
        TablePart { slots: core::array::from_fn(|_| AtomicU32::new(EMPTY)) }
    }
}

/// A destination, as the tables are computed from it.
#[derive(Clone, Copy, Debug)]
pub struct Entrant {
    /// Its index.
    pub index: u32,
    /// Its weight.
    pub weight: u32,
    /// Its last weight that was not 0.
    pub last_weight: u32,
    /// [`fold`] of its address.
    pub address: u32,
    /// Its port in host order.
    pub port: u16,
}

impl Entrant {
    /// The destination of this index, of a service of this IP version: of an IPv6 address, an IPv4 service's
    /// scheduler takes the first word, as IPVS's does.
    pub fn new(index: u32, destination: &Destination, family: u8) -> Entrant {
        let words: [u32; 4] = core::array::from_fn(|i| destination.address[i].load(order::PLAIN));
        Entrant {
            index,
            weight: destination.weight.load(order::PLAIN),
            last_weight: destination.last_weight.load(order::PLAIN),
            address: fold(if family == 6 { words } else { [words[0], 0, 0, 0] }),
            port: u16::from_be(destination.port.load(order::PLAIN) as u16),
        }
    }
}

impl Scheduler {
    /// Slots of its hash table; 0 if it has none.
    pub fn slots(self) -> usize {
        match self {
            Scheduler::DestinationHashing => destination_hashing::SLOTS,
            Scheduler::SourceHashing => source_hashing::SLOTS,
            Scheduler::MaglevHashing => maglev_hashing::SLOTS,
            _ => 0,
        }
    }

    /// How many [`TablePart`]s its hash table takes.
    pub fn parts(self) -> usize {
        self.slots().div_ceil(PART_SLOTS)
    }

    /// The slot of its hash table that a packet's way begins at, with these flags of the service; `None` if it has no table.
    #[cfg(not(target_arch = "bpf"))]
    pub fn slot(self, flags: u32, key: Key) -> Option<u32> {
        match self {
            Scheduler::DestinationHashing => Some(destination_hashing::slot(key)),
            Scheduler::SourceHashing => Some(source_hashing::slot(flags, key)),
            Scheduler::MaglevHashing => Some(maglev_hashing::first_slot(flags, key)),
            _ => None,
        }
    }

    /// Computes the hash table for these destinations, given in the order of the list, and writes it slot by slot into
    /// its [`Self::parts`].
    #[cfg(not(target_arch = "bpf"))]
    pub fn write_table(self, entrants: &[Entrant], parts: &[TablePart]) {
        let mut table = [EMPTY; maglev_hashing::SLOTS];
        let table = &mut table[..self.slots()];
        match self {
            Scheduler::DestinationHashing => destination_hashing::fill(entrants, table),
            Scheduler::SourceHashing => source_hashing::fill(entrants, table),
            Scheduler::MaglevHashing => maglev_hashing::fill(entrants, table),
            _ => {}
        }
        for (cell, index) in parts.iter().flat_map(|part| &part.slots).zip(table) {
            cell.store(*index, order::PLAIN);
        }
    }
}

/// An address (as [`crate::ip`]'s words, in network order) as a number: an IPv4 address as it is, an IPv6 address's four words joined by
/// exclusive or.
#[inline(always)]
pub fn fold(words: [u32; 4]) -> u32 {
    u32::from_be(words[0] ^ words[1] ^ words[2] ^ words[3])
}

/// Multiplicative hashing (Knuth) by the golden ratio, to 8 bits.
#[inline(always)]
pub(super) fn multiplicative(value: u32) -> u32 {
    value.wrapping_mul(0x61c8_8647) >> 24
}

/// What a hashing scheduler goes by.
#[derive(Clone, Copy)]
pub struct Key {
    /// [`fold`] of the client's address; for dh of the address that the client wants.
    pub address: u32,
    /// The client's port in host order.
    pub port: u16,
}

impl Key {
    /// In one word, for a BPF function.
    #[inline(always)]
    pub(crate) fn pack(self) -> u64 {
        (self.address as u64) << 16 | self.port as u64
    }

    /// The reverse of [`Self::pack`].
    #[inline(always)]
    pub(crate) fn unpack(packed: u64) -> Key {
        Key { address: (packed >> 16) as u32, port: packed as u16 }
    }
}

/// What a slot leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// A destination that takes new connections.
    Destination(u32),
    /// One that takes none.
    Unavailable,
    /// Nobody.
    Empty,
}

/// Reads a slot of the list's table.
#[inline(always)]
pub(super) fn look<P: Platform>(platform: &P, list: &MemberList, slot: u32) -> Found {
    let part = list.table.load(order::PLAIN).wrapping_add(slot / PART_SLOTS as u32);
    let Some(part) = platform.table_part(part) else { return Found::Empty };
    let index = part.slots[slot as usize % PART_SLOTS].load(order::PLAIN);
    match platform.destination(index) {
        Some(destination) if destination.is_available() && destination.eligible_weight() > 0 => {
            Found::Destination(index)
        }
        Some(_) => Found::Unavailable,
        None => Found::Empty,
    }
}

/// The first destination that takes new connections, of those that the slots lead to that `slot_of` names for 0, 1, 2, ...; an
/// empty one ends the search.
#[inline(always)]
pub(super) fn first_available<P: Platform>(
    platform: &P,
    list: &MemberList,
    slots: u32,
    slot_of: impl Fn(u32) -> u32,
) -> Option<u32> {
    let [found] = platform.repeat(slots, [NOBODY as u64], |tried, [found]| {
        match look(platform, list, slot_of(tried)) {
            Found::Destination(index) => *found = index as u64,
            Found::Unavailable => return ControlFlow::Continue(()),
            Found::Empty => {}
        }
        ControlFlow::Break(())
    });
    somebody(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_hash_as_in_ipvs() {
        for (address, hash) in [([10, 0, 0, 1], 39), ([10, 0, 0, 2], 137), ([192, 168, 1, 100], 89)] {
            assert_eq!(multiplicative(fold([u32::from_ne_bytes(address), 0, 0, 0])), hash);
        }
        let v6 = [0x2001_0db8u32, 0, 0, 1].map(u32::to_be);
        assert_eq!((fold(v6), multiplicative(fold(v6))), (0x2001_0db9, 63));
    }
}
