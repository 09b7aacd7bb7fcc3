//! Destinations: real servers of a virtual service.

use std::fmt;
use std::net::IpAddr;

use super::{Family, Stats};

/// What identifies a destination within its service. The forwarding method is no part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DestinationId {
    /// The RIP. Its family differs from the service's only with tunnelling.
    pub address: IpAddr,
    /// Port; 0 keeps the port that the client used.
    pub port: u16,
}

impl DestinationId {
    /// Family of the destination's address.
    pub fn family(&self) -> Family {
        Family::of(self.address)
    }
}

/// What becomes of the connections of a destination that is deleted because it has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Ending {
    /// Their clients are told: those of TCP by a reset, those of UDP by "port unreachable".
    Reset = 1,
    /// The same for TCP; what another server can go on with goes to one: UDP.
    Move = 2,
}

impl Ending {
    /// The one with this number on the wire.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Reset),
            2 => Some(Self::Move),
            _ => None,
        }
    }
}

/// How packets reach a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ForwardingMethod {
    /// NAT.
    Masquerade = 0,
    /// The director itself.
    Local = 1,
    /// Encapsulation.
    Tunnel = 2,
    /// Direct routing.
    DirectRoute = 3,
    /// Forwarded past the virtual service (transparent caches).
    Bypass = 4,
}

impl ForwardingMethod {
    /// From connection flags, of which it is the low three bits. `None`: a value that stands for no method.
    pub fn from_flags(flags: u32) -> Option<Self> {
        match flags & 7 {
            0 => Some(Self::Masquerade),
            1 => Some(Self::Local),
            2 => Some(Self::Tunnel),
            3 => Some(Self::DirectRoute),
            4 => Some(Self::Bypass),
            _ => None,
        }
    }
}

impl fmt::Display for ForwardingMethod {
    /// The word of IPVS's listings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Masquerade => "Masq",
            Self::Local => "Local",
            Self::Tunnel => "Tunnel",
            Self::DirectRoute => "Route",
            Self::Bypass => "Bypass",
        })
    }
}

/// Kind of encapsulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum TunnelType {
    /// IP in IP.
    #[default]
    Ipip = 0,
    /// Generic UDP Encapsulation.
    Gue = 1,
    /// Generic Routing Encapsulation.
    Gre = 2,
}

impl TunnelType {
    /// The type with this number on the wire.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Ipip),
            1 => Some(Self::Gue),
            2 => Some(Self::Gre),
            _ => None,
        }
    }
}

bitflags::bitflags! {
    /// Checksums of an encapsulation; none set: no checksum. Bits without a name are kept.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct TunnelFlags: u16 {
        /// The outer header carries a checksum.
        const CHECKSUM = 1;
        /// Remote checksum offload.
        const REMOTE_CHECKSUM = 2;
        const _ = !0;
    }
}

/// Encapsulation of a tunnelling destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Tunnel {
    /// Kind.
    pub kind: TunnelType,
    /// UDP port of GUE.
    pub port: u16,
    /// Checksums.
    pub flags: TunnelFlags,
}

/// A destination as it is added, edited and listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Which.
    pub id: DestinationId,
    /// How packets reach it.
    pub method: ForwardingMethod,
    /// Share of connections; 0 gets no new ones; less than 0 is refused (ERANGE).
    pub weight: i32,
    /// Connections at which it is overloaded; 0: no limit.
    pub upper_threshold: u32,
    /// Connections below which it is no longer overloaded; 0: three quarters of the upper threshold.
    pub lower_threshold: u32,
    /// Encapsulation.
    pub tunnel: Tunnel,
}

impl Destination {
    /// A destination with ipvsadm's defaults: direct routing, weight 1, no thresholds.
    pub fn new(id: DestinationId) -> Self {
        Self {
            id,
            method: ForwardingMethod::DirectRoute,
            weight: 1,
            upper_threshold: 0,
            lower_threshold: 0,
            tunnel: Tunnel::default(),
        }
    }
}

/// A destination in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationEntry {
    /// The destination.
    pub destination: Destination,
    /// Connections in an active state.
    pub active: u32,
    /// Other connections.
    pub inactive: u32,
    /// Persistence templates.
    pub persistent: u32,
    /// Counters and rates.
    pub stats: Stats,
}
