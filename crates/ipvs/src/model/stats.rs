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

/// Statistics of all services together, deleted ones included.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Totals {
    /// Since the last zeroing of everything.
    pub stats: Stats,
    /// Counters by CPU, never zeroed: connections, packets in and out, octets in and out.
    pub cpus: Vec<[u64; 5]>,
}
