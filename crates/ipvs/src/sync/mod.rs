//! IPVS's synchronisation messages: how a master tells backups of its connections. Without input or output.
//!
//! A datagram is a message of version 0 or 1 with one entry for each connection ([`read`], [`Writer`]), or, between directors
//! of this kind, a [`Note`], which the kernel's IPVS refuses as a message of the wrong size.
//! The layout is that of Linux's net/netfilter/ipvs/ip_vs_sync.c; numbers are in network order, but for version 0's sequence data.

mod note;
mod protocol;
mod read;
mod version0;
mod version1;
mod write;

pub use note::Note;
pub use read::{Entries, EntryError, MessageError, read};
pub use write::Writer;

use crate::model::Endpoint;

/// A connection or template, as an entry of a message tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncedConnection {
    /// IP protocol; 0 for a template of a mark's service.
    pub protocol: u8,
    /// [`flag`] bits.
    pub flags: u32,
    /// IPVS's number of the protocol's state; of a template 1 once replies were seen.
    pub state: u16,
    /// The client; of a template its network, and port 0. All three are of one address family.
    pub client: Endpoint,
    /// The virtual service; in a template of a mark's service the mark is in the place of the address's first 32 bits.
    pub virtual_server: Endpoint,
    /// The real server.
    pub destination: Endpoint,
    /// The mark of the packet that opened it; 0: none.
    pub mark: u32,
    /// The current timeout in seconds; 0: the protocol's. Version 0 does not tell it.
    pub timeout: u32,
    /// How far sequence numbers have been moved, if they have.
    pub sequence: Option<Sequence>,
    /// What a persistence engine found.
    pub engine: Option<Engine>,
}

impl SyncedConnection {
    /// Whether it is a persistence template.
    pub fn is_template(&self) -> bool {
        self.flags & flag::TEMPLATE != 0
    }
}

/// How far an application's helper has moved the sequence numbers of each direction, the client's first: since which number, by how
/// much, and by how much before that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sequence(pub [[u32; 3]; 2]);

/// What a persistence engine found in a template's packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// Its name, 1 to 16 octets.
    pub name: String,
    /// 1 to 255 octets; of the engine `sip` the Call-ID.
    pub data: Vec<u8>,
}

/// The version of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// IPv4 only; without timeouts, marks and engines.
    Zero,
    /// Linux 2.6.39 and later.
    One,
}

/// A connection's flags that travel.
pub mod flag {
    /// The forwarding method's bits.
    pub const METHOD: u32 = 0x0007;
    /// Never sent.
    pub const HASHED: u32 = 0x0040;
    /// No reply passed the director.
    pub const NO_OUTPUT: u32 = 0x0080;
    /// It counts as inactive.
    pub const INACTIVE: u32 = 0x0100;
    /// Sequence numbers have been moved, in one direction or the other.
    pub const SEQUENCE: u32 = 0x0600;
    /// The client's port is not known yet.
    pub const NO_CLIENT_PORT: u32 = 0x0800;
    /// A persistence template.
    pub const TEMPLATE: u32 = 0x1000;

    /// What a receiver takes over from version 1.
    pub(super) const ACCEPTED: u32 = METHOD | NO_OUTPUT | INACTIVE | SEQUENCE | NO_CLIENT_PORT | TEMPLATE;
}

#[cfg(test)]
mod tests;
