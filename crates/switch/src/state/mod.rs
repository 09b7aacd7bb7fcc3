//! Protocol states of connections.

pub mod sctp;
pub mod tcp;
pub mod udp;

use crate::config::{Config, Tick};
use crate::order;
use rlvs_packet::protocol;
use rlvs_packet::tcp::{ACK, FIN, RST, SYN};

/// No packet yet, in any protocol.
pub const NONE: u8 = 0;

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

/// The state in which a connection is put into the table. Its first packet then is one of a known connection: that must
/// not change the state again, so an SCTP association, which tells a second INIT from the first, starts before its first packet.
#[inline(always)]
pub fn first(config: &Config, protocol: u8, direction: Direction, signal: u8) -> u8 {
    if protocol == protocol::TCP { tcp::next(NONE, direction, signal, is_secure(config)) } else { NONE }
}

/// Whether TCP's state table is the one against floods (`secure_tcp`).
#[inline(always)]
pub fn is_secure(config: &Config) -> bool {
    config.settings.secure_tcp.load(order::PLAIN) != 0
}

/// The state after a packet with this signal ([`crate::frame::Frame::signal`]) in state `state`; `secure`: by the table
/// against floods.
#[inline(always)]
pub fn next(protocol: u8, state: u8, direction: Direction, signal: u8, secure: bool) -> u8 {
    match protocol {
        protocol::TCP => tcp::next(state, direction, signal, secure),
        protocol::SCTP => sctp::next(state, direction, signal),
        _ => udp::STATE,
    }
}

/// Whether a packet with this signal leaves the state as it is, in either direction: most do.
#[inline(always)]
pub fn is_plain(protocol: u8, state: u8, signal: u8) -> bool {
    match protocol {
        protocol::TCP => signal & (SYN | FIN | RST | ACK) == ACK && state == tcp::ESTABLISHED,
        protocol::SCTP => signal == sctp::event::DATA && state == sctp::ESTABLISHED,
        _ => true,
    }
}

/// Whether a packet with this signal asks for a new connection, and is no answer.
#[inline(always)]
pub fn opens(protocol: u8, signal: u8) -> bool {
    match protocol {
        protocol::TCP => signal & (SYN | ACK | RST) == SYN,
        protocol::SCTP => signal == sctp::event::INIT,
        _ => false,
    }
}

/// Whether a connection in this state counts as active.
#[inline(always)]
pub fn is_active(protocol: u8, state: u8) -> bool {
    match protocol {
        protocol::TCP => tcp::is_active(state),
        protocol::SCTP => sctp::is_active(state),
        _ => false,
    }
}

/// Whether a connection in this state has not been answered for by both sides.
#[inline(always)]
pub fn is_embryonic(protocol: u8, state: u8) -> bool {
    match protocol {
        protocol::TCP => tcp::is_embryonic(state),
        protocol::SCTP => sctp::is_embryonic(state),
        _ => false,
    }
}

/// Whether a connection in this state is one that both sides want to keep.
#[inline(always)]
pub fn is_established(protocol: u8, state: u8) -> bool {
    match protocol {
        protocol::TCP => state == tcp::ESTABLISHED,
        protocol::SCTP => state == sctp::ESTABLISHED,
        _ => false,
    }
}

/// Whether IPVS tells other directors of a connection in this state: not before it is established.
#[inline(always)]
pub fn is_told(protocol: u8, state: u8) -> bool {
    match protocol {
        protocol::TCP => {
            matches!(state, tcp::ESTABLISHED | tcp::FIN_WAIT | tcp::TIME_WAIT | tcp::CLOSE | tcp::CLOSE_WAIT)
        }
        protocol::SCTP => sctp::is_told(state),
        _ => true,
    }
}

/// When a connection that had a packet now expires.
#[inline(always)]
pub fn expiry(config: &Config, protocol: u8, state: u8, now: Tick) -> Tick {
    let ticks = match protocol {
        protocol::TCP => config.tcp_timeouts.get((state & 15) as usize),
        protocol::SCTP => config.sctp_timeouts.get((state & 15) as usize),
        _ => Some(&config.udp_timeout),
    };
    let ticks = match ticks {
        Some(ticks) => ticks.load(order::PLAIN),
        None => 0,
    };
    now.plus(ticks)
}

/// What IPVS calls the state in its listings.
pub fn name(protocol: u8, state: u8) -> &'static str {
    match protocol {
        protocol::TCP => tcp::NAMES.get(state as usize).copied().unwrap_or("ERR!"),
        protocol::UDP => udp::NAME,
        protocol::SCTP => sctp::NAMES.get(state as usize).copied().unwrap_or("ERR!"),
        _ => "ERR!",
    }
}
