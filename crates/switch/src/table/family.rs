//! What differs between the IPv4 and the IPv6 table.

use super::{Bucket, Bucket4, Bucket6};
use crate::cell::{AtomicU32, AtomicU64};
use crate::config::Config;
use crate::order;
use crate::platform::Memory;

/// An address family: how its addresses are held, and where its table is.
pub trait Family: Copy + 'static {
    /// An address in network order.
    type Address: Copy + PartialEq + core::fmt::Debug;
    /// An address in shared memory.
    type AddressCell: Default;
    /// A tuple in shared memory.
    type TupleCell: Default;
    /// 4 or 6.
    const NUMBER: u8;

    /// A bucket of its table.
    fn bucket<M: Memory>(memory: &M, index: u32) -> Option<&Bucket<Self>>
    where
        Self: Sized;
    /// Buckets of its table less one.
    fn mask(config: &Config) -> u32;
    /// Reads an address.
    fn load(cell: &Self::AddressCell) -> Self::Address;
    /// Writes an address.
    fn store(cell: &Self::AddressCell, address: Self::Address);
    /// An address in the form that services and destinations hold it.
    fn words(address: Self::Address) -> [u32; 4];
    /// The reverse of [`Self::words`].
    fn address(words: [u32; 4]) -> Self::Address;
    /// The address of the network that it is in: `netmask` is an IPv4 mask in network order, or an IPv6 prefix's length.
    fn network(address: Self::Address, netmask: u32) -> Self::Address;
    /// Whether the cell holds this tuple.
    fn holds(cell: &Self::TupleCell, tuple: &Tuple<Self>) -> bool
    where
        Self: Sized;
    /// Reads a tuple.
    fn load_tuple(cell: &Self::TupleCell) -> Tuple<Self>
    where
        Self: Sized;
    /// Writes a tuple.
    fn store_tuple(cell: &Self::TupleCell, tuple: &Tuple<Self>)
    where
        Self: Sized;
    /// The keyed hash of a tuple.
    fn hash(config: &Config, tuple: &Tuple<Self>) -> u64
    where
        Self: Sized;
}

/// What identifies a connection's packets of one direction.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(align(8))] // The BPF stack is accessed in aligned words only, and the compiler joins neighbouring fields.
pub struct Tuple<F: Family> {
    /// Sender's address.
    pub source: F::Address,
    /// Receiver's address.
    pub destination: F::Address,
    /// Sender's and receiver's port, as they stand in the packet.
    pub ports: [[u8; 2]; 2],
    /// [`rlvs_packet::protocol`]; of a template with [`TEMPLATE`] flipped, or [`CALL`], so that no packet has its tuple.
    pub protocol: u8,
}

/// What tells a template's protocol from a packet's. What comes of it is no protocol that the switch knows.
pub const TEMPLATE: u8 = 0x80;

/// The protocol of a call's template: its receiver and ports are a hash ([`crate::sip`]), whatever the service.
pub const CALL: u8 = TEMPLATE | 0x40;

/// The words of an address in whose place a template of a mark's service has the mark.
#[inline(always)]
pub fn mark_address<F: Family>(mark: u32) -> [u32; 4] {
    if F::NUMBER == 6 { [0, 0, 0, mark.to_be()] } else { [mark.to_be(), 0, 0, 0] }
}

impl<F: Family> Tuple<F> {
    /// Ports and protocol in one word, which is never 0: an unused slot holds no tuple.
    #[inline(always)]
    fn last_word(&self) -> u64 {
        // Not joined from octets, which the compiler would do one by one.
        let ports: u32 = zerocopy::transmute!(self.ports);
        ports as u64 | (self.protocol as u64) << 32 | 1 << 63
    }

    /// The reverse of [`Self::last_word`], with the addresses.
    #[inline(always)]
    fn from_words(source: F::Address, destination: F::Address, last: u64) -> Self {
        let [a, b, c, d] = (last as u32).to_ne_bytes();
        Tuple { source, destination, ports: [[a, b], [c, d]], protocol: (last >> 32) as u8 }
    }
}

/// IPv4.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct V4;

impl Family for V4 {
    type Address = u32;
    type AddressCell = AtomicU32;
    type TupleCell = [AtomicU64; 2];
    const NUMBER: u8 = 4;

    #[inline(always)]
    fn bucket<M: Memory>(memory: &M, index: u32) -> Option<&Bucket4> {
        memory.bucket4(index)
    }

    #[inline(always)]
    fn mask(config: &Config) -> u32 {
        config.mask4()
    }

    #[inline(always)]
    fn load(cell: &AtomicU32) -> u32 {
        cell.load(order::PLAIN)
    }

    #[inline(always)]
    fn store(cell: &AtomicU32, address: u32) {
        cell.store(address, order::PLAIN);
    }

    #[inline(always)]
    fn words(address: u32) -> [u32; 4] {
        [address, 0, 0, 0]
    }

    #[inline(always)]
    fn address(words: [u32; 4]) -> u32 {
        words[0]
    }

    #[inline(always)]
    fn network(address: u32, netmask: u32) -> u32 {
        address & netmask
    }

    #[inline(always)]
    fn holds(cell: &Self::TupleCell, tuple: &Tuple<V4>) -> bool {
        cell[0].load(order::PLAIN) == addresses4(tuple) && cell[1].load(order::PLAIN) == tuple.last_word()
    }

    #[inline(always)]
    fn load_tuple(cell: &Self::TupleCell) -> Tuple<V4> {
        let addresses = cell[0].load(order::PLAIN);
        Tuple::from_words(addresses as u32, (addresses >> 32) as u32, cell[1].load(order::PLAIN))
    }

    #[inline(always)]
    fn store_tuple(cell: &Self::TupleCell, tuple: &Tuple<V4>) {
        cell[0].store(addresses4(tuple), order::PLAIN);
        cell[1].store(tuple.last_word(), order::PLAIN);
    }

    #[inline(always)]
    fn hash(config: &Config, tuple: &Tuple<V4>) -> u64 {
        let seed = &config.seed;
        let last = tuple.last_word();
        finish(
            seed[0]
                .load(order::PLAIN)
                .wrapping_add(term(&seed[1], tuple.source))
                .wrapping_add(term(&seed[2], tuple.destination))
                .wrapping_add(term(&seed[3], last as u32))
                .wrapping_add(term(&seed[4], (last >> 32) as u32)),
        )
    }
}

#[inline(always)]
fn addresses4(tuple: &Tuple<V4>) -> u64 {
    tuple.source as u64 | (tuple.destination as u64) << 32
}

/// IPv6.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct V6;

impl Family for V6 {
    type Address = [u64; 2];
    type AddressCell = [AtomicU64; 2];
    type TupleCell = [AtomicU64; 5];
    const NUMBER: u8 = 6;

    #[inline(always)]
    fn bucket<M: Memory>(memory: &M, index: u32) -> Option<&Bucket6> {
        memory.bucket6(index)
    }

    #[inline(always)]
    fn mask(config: &Config) -> u32 {
        config.mask6()
    }

    #[inline(always)]
    fn load(cell: &Self::AddressCell) -> [u64; 2] {
        [cell[0].load(order::PLAIN), cell[1].load(order::PLAIN)]
    }

    #[inline(always)]
    fn store(cell: &Self::AddressCell, address: [u64; 2]) {
        cell[0].store(address[0], order::PLAIN);
        cell[1].store(address[1], order::PLAIN);
    }

    #[inline(always)]
    fn words([a, b]: [u64; 2]) -> [u32; 4] {
        // As the octets lie in memory, on either kind of machine.
        let (a, b) = (a.to_ne_bytes(), b.to_ne_bytes());
        [
            u32::from_ne_bytes([a[0], a[1], a[2], a[3]]),
            u32::from_ne_bytes([a[4], a[5], a[6], a[7]]),
            u32::from_ne_bytes([b[0], b[1], b[2], b[3]]),
            u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
        ]
    }

    #[inline(always)]
    fn address(words: [u32; 4]) -> [u64; 2] {
        let join = |a: u32, b: u32| {
            let (a, b) = (a.to_ne_bytes(), b.to_ne_bytes());
            u64::from_ne_bytes([a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]])
        };
        [join(words[0], words[1]), join(words[2], words[3])]
    }

    #[inline(always)]
    fn network([a, b]: [u64; 2], netmask: u32) -> [u64; 2] {
        [a & leading(netmask.min(64)), b & leading(netmask.saturating_sub(64).min(64))]
    }

    #[inline(always)]
    fn holds(cell: &Self::TupleCell, tuple: &Tuple<V6>) -> bool {
        // Ports and client differ most: they are compared first.
        cell[4].load(order::PLAIN) == tuple.last_word()
            && cell[1].load(order::PLAIN) == tuple.source[1]
            && cell[0].load(order::PLAIN) == tuple.source[0]
            && cell[3].load(order::PLAIN) == tuple.destination[1]
            && cell[2].load(order::PLAIN) == tuple.destination[0]
    }

    #[inline(always)]
    fn load_tuple(cell: &Self::TupleCell) -> Tuple<V6> {
        Tuple::from_words(
            [cell[0].load(order::PLAIN), cell[1].load(order::PLAIN)],
            [cell[2].load(order::PLAIN), cell[3].load(order::PLAIN)],
            cell[4].load(order::PLAIN),
        )
    }

    #[inline(always)]
    fn store_tuple(cell: &Self::TupleCell, tuple: &Tuple<V6>) {
        cell[0].store(tuple.source[0], order::PLAIN);
        cell[1].store(tuple.source[1], order::PLAIN);
        cell[2].store(tuple.destination[0], order::PLAIN);
        cell[3].store(tuple.destination[1], order::PLAIN);
        cell[4].store(tuple.last_word(), order::PLAIN);
    }

    #[inline(always)]
    fn hash(config: &Config, tuple: &Tuple<V6>) -> u64 {
        hash6(config, tuple)
    }
}

/// A word whose first so many bits in network order are set.
#[inline(always)]
fn leading(bits: u32) -> u64 {
    if bits == 0 { 0 } else { (u64::MAX << (64 - bits)).to_be() }
}

/// A BPF function of its own, whose many words in flight would take too much of its callers' stack.
#[inline(never)]
fn hash6(config: &Config, tuple: &Tuple<V6>) -> u64 {
    let seed = &config.seed;
    let [a, b] = tuple.source;
    let [c, d] = tuple.destination;
    let last = tuple.last_word();
    finish(
        seed[0]
            .load(order::PLAIN)
            .wrapping_add(term(&seed[1], a as u32))
            .wrapping_add(term(&seed[2], (a >> 32) as u32))
            .wrapping_add(term(&seed[3], b as u32))
            .wrapping_add(term(&seed[4], (b >> 32) as u32))
            .wrapping_add(term(&seed[5], c as u32))
            .wrapping_add(term(&seed[6], (c >> 32) as u32))
            .wrapping_add(term(&seed[7], d as u32))
            .wrapping_add(term(&seed[8], (d >> 32) as u32))
            .wrapping_add(term(&seed[9], last as u32))
            .wrapping_add(term(&seed[10], (last >> 32) as u32)),
    )
}

/// A 32-bit word of the tuple times its own random 64-bit word.
///
/// The sum of such terms is multilinear hashing (Carter and Wegman 1979; Lemire and Kaser, "Strongly universal
/// string hashing is fast", 2014): for any two tuples chosen without the key, its upper half collides for one key in 2^32. The multiplications do
/// not wait for each other, which a chain of rounds would.
#[inline(always)]
fn term(seed: &AtomicU64, word: u32) -> u64 {
    seed.load(order::PLAIN).wrapping_mul(word as u64)
}

/// Spreads the upper half, where the randomness is, over all bits (the finish of MurmurHash3, a bijection).
#[inline(always)]
fn finish(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}
