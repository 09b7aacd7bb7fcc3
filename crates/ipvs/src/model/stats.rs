//! Statistics.

/// Counters since the last zeroing, and estimated rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stats {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Packets to clients.
    pub out_packets: u64,
    /// Octets of IP packets from clients.
    pub in_bytes: u64,
    /// Octets of IP packets to clients.
    pub out_bytes: u64,
    /// Connections per second.
    pub connections_rate: u64,
    /// Packets per second from clients.
    pub in_packets_rate: u64,
    /// Packets per second to clients.
    pub out_packets_rate: u64,
    /// Octets per second from clients.
    pub in_bytes_rate: u64,
    /// Octets per second to clients.
    pub out_bytes_rate: u64,
}
