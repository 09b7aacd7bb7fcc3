//! Protocol states of connections.

pub mod tcp;
pub mod udp;

use crate::config::{Config, Tick};
use crate::order;
use rlvs_packet::protocol;

/// Which way a packet goes, as the state tables see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// From the client, of a connection whose replies pass here too.
    Input = 0,
    /// From the real server.
    Output = 1,
    /// From the client, of a connection whose replies go another way (direct routing, tunnels).
    InputOnly = 2,
}

/// The state after a packet with these TCP flags (0 for other protocols) in state `state`.
#[inline(always)]
pub fn next(config: &Config, protocol: u8, state: u8, direction: Direction, tcp_flags: u8) -> u8 {
    if protocol != protocol::TCP {
        return udp::STATE;
    }
    tcp::next(state, direction, tcp_flags, is_secure(config))
}

/// Whether TCP's state table is the one against floods (`secure_tcp`).
#[inline(always)]
pub fn is_secure(config: &Config) -> bool {
    config.settings.secure_tcp.load(order::PLAIN) != 0
}

/// Whether a connection in this state counts as active.
#[inline(always)]
pub fn is_active(protocol: u8, state: u8) -> bool {
    protocol == protocol::TCP && tcp::is_active(state)
}

/// When a connection that had a packet now expires.
#[inline(always)]
pub fn expiry(config: &Config, protocol: u8, state: u8, now: Tick) -> Tick {
    let ticks = if protocol == protocol::TCP {
        match config.tcp_timeouts.get((state & 15) as usize) {
            Some(ticks) => ticks.load(order::PLAIN),
            None => 0,
        }
    } else {
        config.udp_timeout.load(order::PLAIN)
    };
    now.plus(ticks)
}

/// What IPVS calls the state in its listings.
pub fn name(protocol: u8, state: u8) -> &'static str {
    match protocol {
        protocol::TCP => tcp::NAMES.get(state as usize).copied().unwrap_or("ERR!"),
        protocol::UDP => udp::NAME,
        _ => "ERR!",
    }
}
