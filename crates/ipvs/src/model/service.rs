//! Virtual services.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;

use super::Stats;

/// Address family of a service or destination, with the values of AF_INET and AF_INET6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Family {
    /// IPv4.
    Inet = 2,
    /// IPv6.
    Inet6 = 10,
}

impl Family {
    /// The family with this AF_* value, if it is one of the two.
    pub fn from_number(number: u16) -> Option<Self> {
        match number {
            2 => Some(Self::Inet),
            10 => Some(Self::Inet6),
            _ => None,
        }
    }

    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Inet,
            IpAddr::V6(_) => Self::Inet6,
        }
    }

    /// The all-zero address of the family.
    pub fn unspecified(self) -> IpAddr {
        match self {
            Self::Inet => Ipv4Addr::UNSPECIFIED.into(),
            Self::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}

/// IP protocol number of a service. IPVS's netlink interface does not check it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(pub u16);

impl Protocol {
    /// 0: what templates of mark services carry.
    pub const IP: Self = Self(0);
    /// Transmission Control Protocol.
    pub const TCP: Self = Self(6);
    /// User Datagram Protocol.
    pub const UDP: Self = Self(17);
    /// IPsec's Encapsulating Security Payload; no service is of that.
    pub const ESP: Self = Self(50);
    /// IPsec's Authentication Header, likewise.
    pub const AH: Self = Self(51);
    /// Stream Control Transmission Protocol.
    pub const SCTP: Self = Self(132);
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            0 => "IP",
            1 => "ICMP",
            6 => "TCP",
            17 => "UDP",
            58 => "ICMPv6",
            132 => "SCTP",
            other => return write!(f, "IP_{other}"),
        };
        f.pad(name)
    }
}

/// What identifies a virtual service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceId {
    /// A service by its virtual address.
    Address {
        /// TCP, UDP or SCTP.
        protocol: Protocol,
        /// The VIP.
        address: IpAddr,
        /// Port; 0 stands for all ports.
        port: u16,
    },
    /// A service by firewall mark. The same mark may have an IPv4 and an IPv6 service.
    Mark {
        /// Family of the packets that it takes.
        family: Family,
        /// The mark.
        mark: NonZeroU32,
    },
}

impl ServiceId {
    /// Family of the service's clients.
    pub fn family(&self) -> Family {
        match self {
            Self::Address { address, .. } => Family::of(*address),
            Self::Mark { family, .. } => *family,
        }
    }
}

bitflags::bitflags! {
    /// Flags of a service. Bits without a name are kept.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct ServiceFlags: u32 {
        /// Connections of a client stay with one destination.
        const PERSISTENT = 0x0001;
        /// Set by the director: the service is in its table.
        const HASHED = 0x0002;
        /// Each packet is scheduled on its own.
        const ONE_PACKET = 0x0004;
        /// Scheduler's flag 1: fallback, for sh and mh.
        const SCHED1 = 0x0008;
        /// Scheduler's flag 2: port, for sh and mh.
        const SCHED2 = 0x0010;
        /// Scheduler's flag 3: no scheduler uses it.
        const SCHED3 = 0x0020;
        const _ = !0;
    }
}

/// A change of flags: those in `mask` take the value that they have in `flags`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlagsChange {
    /// New values.
    pub flags: ServiceFlags,
    /// Which to change.
    pub mask: ServiceFlags,
}

impl FlagsChange {
    /// All flags become these.
    pub fn to(flags: ServiceFlags) -> Self {
        Self { flags, mask: ServiceFlags::all() }
    }

    /// The flags that come of `old` (empty for a new service).
    pub fn apply(self, old: ServiceFlags) -> ServiceFlags {
        (old - self.mask) | (self.flags & self.mask)
    }
}

/// How much of a client's address persistence looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Netmask {
    /// IPv4: the mask.
    V4(Ipv4Addr),
    /// IPv6: the prefix length. Valid are 1 to 128; the wire can carry others, which the director refuses (EINVAL).
    V6(u32),
}

impl Netmask {
    /// The mask that takes the whole address.
    pub fn whole(family: Family) -> Self {
        match family {
            Family::Inet => Self::V4(Ipv4Addr::BROADCAST),
            Family::Inet6 => Self::V6(128),
        }
    }
}

/// A virtual service as it is added, edited and listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Which.
    pub id: ServiceId,
    /// Scheduler's name, at most 15 octets; `none` for no scheduler.
    pub scheduler: String,
    /// Flags; in a listing the mask is all ones.
    pub flags: FlagsChange,
    /// Persistence timeout in seconds.
    pub timeout: u32,
    /// Persistence granularity.
    pub netmask: Netmask,
    /// Persistence engine, at most 16 octets.
    pub persistence_engine: Option<String>,
}

impl Service {
    /// A service with ipvsadm's defaults: wlc, no flags, not persistent.
    pub fn new(id: ServiceId) -> Self {
        Self {
            id,
            scheduler: "wlc".into(),
            flags: FlagsChange::to(ServiceFlags::empty()),
            timeout: 0,
            netmask: Netmask::whole(id.family()),
            persistence_engine: None,
        }
    }
}

/// A service in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEntry {
    /// The service.
    pub service: Service,
    /// Its counters and rates.
    pub stats: Stats,
}
