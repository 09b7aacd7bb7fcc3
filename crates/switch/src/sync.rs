//! Synchronisation with other directors: its daemons, as the director notes them for the next one; what the switch tells the
//! director's master, and the director's backup the switch.

use crate::cell::AtomicU32;
use crate::table::Family;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Octets kept of an interface's name, as in Linux.
pub const INTERFACE_NAME: usize = 16;

/// A synchronisation daemon's settings, in shared memory.
#[derive(Default)]
#[repr(C, align(8))]
pub struct SyncDaemon {
    /// 1 while it is to run, else 0; written last.
    pub started: AtomicU32,
    /// The interface's name, padded with zeros.
    pub interface: [AtomicU32; INTERFACE_NAME / 4],
    /// 0 to 255.
    pub sync_id: AtomicU32,
    /// Largest message in octets.
    pub max_length: AtomicU32,
    /// The multicast group's family: 4 or 6.
    pub family: AtomicU32,
    /// The multicast group in network order; IPv4 takes the first word.
    pub group: [AtomicU32; 4],
    /// UDP port.
    pub port: AtomicU32,
    /// TTL or hop limit.
    pub ttl: AtomicU32,
}

/// What the switch tells the director of an entry while a daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Change {
    /// Index of its slot.
    pub slot: u32,
    /// The IP version whose table that is in.
    pub family: u32,
    /// [`change`]: what there is to tell.
    pub what: u32,
    /// Always 0.
    pub reserved: u32,
}

impl Change {
    /// Of the entry in this slot.
    #[inline(always)]
    pub fn new<F: Family>(slot: u32, what: u32) -> Change {
        Change { slot, family: F::NUMBER as u32, what, reserved: 0 }
    }
}

/// What [`Change::what`] may be.
pub mod change {
    /// A forward entry or a template is one that other directors are to hear of.
    pub const STATE: u32 = 1;
    /// A reply entry's way to the client is not known to the kernel: no packet has come from there, as the connection began elsewhere.
    pub const NO_WAY: u32 = 2;
}

/// A connection or template that another director tells of, for the step `import`: the whole frame that it runs on.
///
/// Addresses are in network order, IPv4's in the first word.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Import {
    /// The tuple's sender: the client.
    pub client: [u32; 4],
    /// The tuple's receiver: the VIP, or what stands for it in a template.
    pub virtual_address: [u32; 4],
    /// The real server.
    pub server: [u32; 4],
    /// The tuple's ports, as they stand in a packet.
    pub ports: [[u8; 2]; 2],
    /// The real server's port, likewise.
    pub server_port: [u8; 2],
    /// The tuple's protocol.
    pub protocol: u8,
    /// [`crate::destination::method`].
    pub method: u8,
    /// Index of the destination; above all indexes: it is not known here.
    pub destination: u32,
    /// The protocol's state.
    pub state: u32,
    /// Ticks until it expires; the timeout of a template.
    pub timeout: u32,
    /// [`import`] bits.
    pub flags: u32,
    /// Written by the switch: index of the forward entry's slot.
    pub slot: u32,
}

/// Bits of [`Import::flags`].
pub mod import {
    /// A template.
    pub const TEMPLATE: u32 = 1;
    /// Counted as inactive where it comes from: it does not take the place of a connection to another real server.
    pub const INACTIVE: u32 = 2;
}
