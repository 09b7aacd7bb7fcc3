//! Datagrams at full speed from a client, through whoever is between, to real servers that count them.

use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rlvs_testbed::Namespace;

/// Sockets that the client sends from in turn: a connection each.
const FLOWS: usize = 64;
/// Octets of a datagram, 64 with its headers.
const DATA: [u8; 22] = [0; 22];
/// Datagrams that are sent between two looks at the clock.
const BETWEEN_LOOKS: usize = 16 * FLOWS;

/// Sends for so long; how many arrived at the servers' interfaces. Whatever was lost did not.
pub fn send(client: &Namespace, to: (IpAddr, u16), servers: &[Namespace], time: Duration) -> Result<u64> {
    // Somebody listens, and reads nothing: what finds the queue full ends there.
    let _listening: Vec<UdpSocket> = servers
        .iter()
        .map(|server| server.run(move || Ok(UdpSocket::bind(("0.0.0.0", to.1))?)))
        .collect::<Result<_>>()?;
    let before = received(servers)?;
    client.run(move || {
        let sockets = (0..FLOWS).map(|_| {
            let socket = UdpSocket::bind(("0.0.0.0", 0))?;
            socket.connect(to)?;
            Ok(socket)
        });
        let sockets: Vec<UdpSocket> =
            sockets.collect::<std::io::Result<_>>().context("no socket to send from")?;
        let start = Instant::now();
        while start.elapsed() < time {
            for socket in sockets.iter().cycle().take(BETWEEN_LOOKS) {
                // It counts what arrives.
                let _lost = socket.send(&DATA);
            }
        }
        Ok(())
    })?;
    Ok(received(servers)? - before)
}

/// Frames that came in by the servers' interfaces.
fn received(servers: &[Namespace]) -> Result<u64> {
    let path = "/sys/class/net/lan/statistics/rx_packets";
    let mut all = 0;
    for server in servers {
        let text = server.output(&["cat", path])?;
        all += text.trim().parse::<u64>().with_context(|| format!("{path}: {text:?} is no number"))?;
    }
    Ok(all)
}
