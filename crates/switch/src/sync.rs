//! Synchronisation daemons, as the director notes them for the next one. The switch does not read this.

use crate::cell::AtomicU32;

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
