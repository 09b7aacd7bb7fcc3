//! What a virtual router says of itself when it is asked.

use std::net::IpAddr;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::status::Time;

/// Other machines that are remembered, for each virtual router.
const MOST_PEERS: usize = 32;

/// A virtual router on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Its name.
    pub name: String,
    /// MASTER, BACKUP, FAULT or STOP.
    pub state: String,
    /// Since when.
    pub since: Time,
    /// Why.
    pub reason: String,
    /// Its interface.
    pub interface: String,
    /// Its number.
    pub id: u8,
    /// The priority that it advertises, by what it depends on.
    pub priority: u8,
    /// The priority of the file.
    pub base_priority: u8,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The other machines that have been heard, the latest first.
    pub peers: Vec<PeerStatus>,
}

/// The last advertisement of another machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Who sent it.
    pub address: IpAddr,
    /// Its priority; 0 if it resigned.
    pub priority: u8,
    /// Its time between advertisements, in milliseconds.
    pub interval_ms: u64,
    /// When it came.
    pub time: Time,
}

/// The machines that were heard, the latest first.
#[derive(Debug, Default)]
pub(super) struct Peers(Vec<Peer>);

#[derive(Debug)]
struct Peer {
    address: IpAddr,
    priority: u8,
    interval: std::time::Duration,
    at: Instant,
}

impl Peers {
    /// Takes an advertisement.
    pub(super) fn hear(&mut self, address: IpAddr, priority: u8, interval: std::time::Duration) {
        self.0.retain(|peer| peer.address != address);
        self.0.insert(0, Peer { address, priority, interval, at: Instant::now() });
        // Who speaks in the name of many must not fill the memory.
        self.0.truncate(MOST_PEERS);
    }

    pub(super) fn status(&self) -> Vec<PeerStatus> {
        let status = |peer: &Peer| PeerStatus {
            address: peer.address,
            priority: peer.priority,
            interval_ms: u64::try_from(peer.interval.as_millis()).unwrap_or(u64::MAX),
            time: peer.at.into(),
        };
        self.0.iter().map(status).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_latest_are_remembered() {
        let mut peers = Peers::default();
        for last in 0..=40 {
            peers.hear([10, 0, 0, last].into(), last, Duration::from_secs(1));
        }
        peers.hear([10, 0, 0, 30].into(), 0, Duration::from_millis(1500));
        let status = peers.status();
        assert_eq!(status.len(), MOST_PEERS);
        let shown: Vec<_> = status[..2].iter().map(|peer| (peer.priority, peer.interval_ms)).collect();
        assert_eq!(shown, [(0, 1500), (40, 1000)]);
    }
}
