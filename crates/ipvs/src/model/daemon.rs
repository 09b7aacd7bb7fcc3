//! Connection synchronisation daemons.

use std::net::IpAddr;

/// Role of a sync daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum DaemonRole {
    /// Sends.
    Master = 1,
    /// Receives.
    Backup = 2,
}

impl DaemonRole {
    /// The role with this number on the wire.
    pub fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Master),
            2 => Some(Self::Backup),
            _ => None,
        }
    }
}

/// A sync daemon, to start or as it runs. In a request 0 or `None` stands for the default, in a reply for
/// "not reported".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// Master or backup.
    pub role: DaemonRole,
    /// Interface, at most 15 octets.
    pub interface: String,
    /// 0 to 255; a backup with 0 takes messages of any.
    pub sync_id: u32,
    /// Largest message in octets.
    pub max_length: u16,
    /// Multicast group; default 224.0.0.81.
    pub group: Option<IpAddr>,
    /// UDP port; default 8848.
    pub port: u16,
    /// TTL; default 1.
    pub ttl: u8,
}
