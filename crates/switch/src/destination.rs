//! Destinations: IPVS's word for a real server of a virtual service.

use crate::cell::{AtomicU32, AtomicU64};
use crate::order;
use crate::scheduler::ranking::LEVELS;
use rlvs_packet::ethernet::Mac;

/// Forwarding methods, with IPVS's numbers.
pub mod method {
    /// NAT: addresses and ports are rewritten both ways.
    pub const MASQUERADE: u32 = 0;
    /// The director itself is the real server.
    pub const LOCAL: u32 = 1;
    /// The packet travels inside another IP packet.
    pub const TUNNEL: u32 = 2;
    /// Only the next hop changes.
    pub const DIRECT_ROUTE: u32 = 3;
    /// Of connections only: the packet goes where it was going, there being no destination.
    pub const BYPASS: u32 = 4;
}

/// Kinds of tunnels, with IPVS's numbers.
pub mod tunnel {
    /// IP in IP.
    pub const IPIP: u32 = 0;
    /// Generic UDP Encapsulation.
    pub const GUE: u32 = 1;
    /// Generic Routing Encapsulation.
    pub const GRE: u32 = 2;
    /// Flag: GUE's UDP header, or GRE's, has a checksum.
    pub const CHECKSUM: u32 = 1;
    /// Flag: the same for GUE, and what is left of the inner checksum may be done at the tunnel's end.
    pub const REMOTE_CHECKSUM: u32 = 2;
}

/// How a packet travels inside another one: [`tunnel`]'s kind (lowest octet) and flags (next octet), and GUE's port in
/// network order (upper half). One word, so that one store changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel(pub u32);

impl Tunnel {
    /// Puts the word together; the port is in network order.
    pub fn new(kind: u32, flags: u32, port: [u8; 2]) -> Tunnel {
        Tunnel(kind & 0xff | (flags & 0xff) << 8 | (u16::from_ne_bytes(port) as u32) << 16)
    }

    /// [`tunnel::IPIP`], [`tunnel::GUE`] or [`tunnel::GRE`].
    #[inline(always)]
    pub fn kind(self) -> u32 {
        self.0 & 0xff
    }

    /// [`tunnel::CHECKSUM`], [`tunnel::REMOTE_CHECKSUM`].
    #[inline(always)]
    pub fn flags(self) -> u32 {
        self.0 >> 8 & 0xff
    }

    /// GUE's port, in network order.
    #[inline(always)]
    pub fn port(self) -> [u8; 2] {
        ((self.0 >> 16) as u16).to_ne_bytes()
    }

    /// Whether there is a checksum over header and inner packet.
    #[inline(always)]
    pub fn has_checksum(self) -> bool {
        let wanted = match self.kind() {
            tunnel::GUE => tunnel::CHECKSUM | tunnel::REMOTE_CHECKSUM,
            tunnel::GRE => tunnel::CHECKSUM,
            _ => 0,
        };
        self.flags() & wanted != 0
    }
}

/// Bits of [`Destination::flags`].
pub mod flag {
    /// Part of its service. Without it: deleted, kept for the connections that still name it.
    pub const AVAILABLE: u32 = 1;
    /// Deleted, and its connections end: their clients are told, instead of being left to wait for it.
    pub const ENDS: u32 = 2;
    /// With [`ENDS`]: flows that another server can go on with are not told, but go to one.
    pub const MOVES: u32 = 4;
}

/// How a frame reaches its next station.
///
/// The MACs are held as they will be written: both in a row, as words. (Octets on the BPF stack would be joined by the
/// compiler to words that the verifier finds misaligned.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Index of the interface that it leaves by; 0: not known.
    pub interface: u32,
    /// The next station's MAC and the first two octets of ours.
    pub(crate) start: u64,
    /// The rest of ours (lower half), the VLAN tag's control field (16 bits; 0: untagged), and 16 bits for whoever keeps the hop.
    pub(crate) end: u64,
}

impl Hop {
    /// No way at all.
    pub const UNKNOWN: Hop = Hop { interface: 0, start: 0, end: 0 };

    /// A hop by the interface of this index, between these MACs, in this VLAN (0: untagged).
    #[inline(always)]
    pub fn new(interface: u32, destination: Mac, source: Mac, vlan: u16) -> Hop {
        let (d, s) = (destination, source);
        Hop {
            interface,
            start: u64::from_ne_bytes([d[0], d[1], d[2], d[3], d[4], d[5], s[0], s[1]]),
            end: u32::from_ne_bytes([s[2], s[3], s[4], s[5]]) as u64 | (vlan as u64) << 32,
        }
    }

    /// The VLAN tag's control field; 0: untagged.
    #[inline(always)]
    pub fn vlan(&self) -> u16 {
        (self.end >> 32) as u16
    }

    /// The spare bits: in connections, the generation of routes that the hop was looked up in.
    #[inline(always)]
    pub fn generation(&self) -> u16 {
        (self.end >> 48) as u16
    }

    /// The hop as looked up in this generation of routes.
    #[inline(always)]
    pub fn in_generation(self, generation: u16) -> Hop {
        Hop { end: self.end & 0xffff_ffff_ffff | (generation as u64) << 48, ..self }
    }
}

/// A destination's way, in shared memory.
#[derive(Default)]
#[repr(C)]
pub struct Egress {
    /// Interface's index; 0: not known; [`Egress::HERE`]: this machine.
    pub interface: AtomicU32,
    /// Octets that the route carries from the IP header on.
    pub mtu: AtomicU32,
    /// Destination's MAC and the first two octets of ours.
    pub macs_start: AtomicU64,
    /// The rest of our MAC (lower half) and the VLAN (the next 16 bits).
    pub macs_end: AtomicU64,
}

impl Egress {
    /// [`Self::interface`] of a destination whose address is this machine's.
    pub const HERE: u32 = u32::MAX;

    /// The hop.
    #[inline(always)]
    pub fn hop(&self) -> Hop {
        Hop {
            interface: self.interface.load(order::PLAIN),
            start: self.macs_start.load(order::PLAIN),
            end: self.macs_end.load(order::PLAIN),
        }
    }

    /// Writes the hop.
    pub fn store_hop(&self, hop: &Hop) {
        self.macs_start.store(hop.start, order::PLAIN);
        self.macs_end.store(hop.end, order::PLAIN);
        self.interface.store(hop.interface, order::PLAIN);
    }
}

/// A destination, in shared memory. The director writes it; the switch writes the numbers of connections.
///
/// What packets of known connections need is in its first cache line, if they go by a tunnel also in the second, which changes as seldom. What
/// changes with each connection is in the third.
#[derive(Default)]
#[repr(C, align(64))]
pub struct Destination {
    /// [`flag`].
    pub flags: AtomicU32,
    /// Which of the two [`Egress`]es is valid.
    pub current: AtomicU32,
    /// [`method`] for new connections.
    pub method: AtomicU32,
    /// [`Tunnel`], if the method is a tunnel.
    pub tunnel: AtomicU32,
    /// The way, twice: the director prepares one and switches with one store.
    pub egress: [Egress; 2],

    /// 0: takes no new connections.
    pub weight: AtomicU32,
    /// 4 or 6.
    pub family: AtomicU32,
    /// Port in network order; 0: the client's.
    pub port: AtomicU32,
    /// Address in network order; IPv4 takes the first word.
    pub address: [AtomicU32; 4],
    /// Our address towards the destination by each way, in its family: the outer source of tunnels.
    pub sources: [[AtomicU32; 4]; 2],
    /// 1 while it takes no new connections because it has too many.
    pub overload: AtomicU32,

    /// Connections in an active state. Changed only when a connection changes.
    pub active: AtomicU32,
    /// The other connections.
    pub inactive: AtomicU32,
    /// Templates that lead here.
    pub persistent: AtomicU32,
    /// Upper threshold of connections; 0: none.
    pub upper: AtomicU32,
    /// Lower threshold; 0: three quarters of the upper one.
    pub lower: AtomicU32,
    /// Where its rank is, and the words above it ([`crate::scheduler::ranking`]).
    pub ranks: [AtomicU32; LEVELS],
    /// How many destinations have had this place: what was noted under another number was another one.
    pub incarnation: AtomicU32,
    /// Director only: the last weight that was not 0, or the one that it was added with.
    pub last_weight: AtomicU32,
    /// Director only: 0 free, else used, growing with each destination made: the order of creation.
    pub sequence: AtomicU32,
    /// The identity of the service that it belongs or belonged to ([`crate::service::ServiceKey`], as words).
    pub owner: [AtomicU32; 6],
    /// Director only: what the counters showed when they were last zeroed.
    pub zero: [AtomicU64; 5],
    /// Director only: what of the counters its service has taken over as residue.
    pub settled: [AtomicU64; 5],
}

const _: () = assert!(core::mem::offset_of!(Destination, weight) == 64);
const _: () = assert!(core::mem::offset_of!(Destination, active) == 128);

impl Destination {
    /// The tunnel to it.
    #[inline(always)]
    pub fn tunnel(&self) -> Tunnel {
        Tunnel(self.tunnel.load(order::PLAIN))
    }

    /// The valid way.
    #[inline(always)]
    pub fn egress(&self) -> &Egress {
        self.way().0
    }

    /// The valid way, and our address by it.
    #[inline(always)]
    pub fn way(&self) -> (&Egress, &[AtomicU32; 4]) {
        let current = self.current.load(order::LOAD) as usize & 1;
        (&self.egress[current], &self.sources[current])
    }

    /// The address, as its words are held.
    #[inline(always)]
    pub fn address_words(&self) -> [u32; 4] {
        let load = |i: usize| self.address[i].load(order::PLAIN);
        [load(0), load(1), load(2), load(3)]
    }

    /// Whether it belongs to its service.
    #[inline(always)]
    pub fn is_available(&self) -> bool {
        self.flags.load(order::PLAIN) & flag::AVAILABLE != 0
    }

    /// Whether its connections end with it.
    #[inline(always)]
    pub fn ends(&self) -> bool {
        self.flags.load(order::PLAIN) & flag::ENDS != 0
    }

    /// Whether flows that can do so go on with another server.
    #[inline(always)]
    pub fn moves(&self) -> bool {
        self.flags.load(order::PLAIN) & flag::MOVES != 0
    }

    /// Its weight if it takes new connections, else 0.
    #[inline(always)]
    pub fn eligible_weight(&self) -> u32 {
        // Without a branch: in a scheduler's loop, each is one more for the verifier to follow.
        self.weight.load(order::PLAIN) & self.overload.load(order::PLAIN).wrapping_sub(1)
    }

    /// A connection was added: enough of them?
    #[inline(always)]
    pub(crate) fn check_upper(&self) {
        let upper = self.upper.load(order::PLAIN);
        if upper != 0 && self.connections() >= upper {
            self.overload.store(1, order::PLAIN);
        }
    }

    /// A connection was taken away: few enough again?
    #[inline(always)]
    pub(crate) fn check_lower(&self) {
        if self.overload.load(order::PLAIN) == 0 {
            return;
        }
        let (upper, lower) = (self.upper.load(order::PLAIN) as u64, self.lower.load(order::PLAIN) as u64);
        let connections = self.connections() as u64;
        let few = if lower != 0 { connections < lower } else { connections * 4 < upper * 3 };
        if few || upper == 0 {
            self.overload.store(0, order::PLAIN);
        }
    }

    /// All connections.
    #[inline(always)]
    fn connections(&self) -> u32 {
        self.active.load(order::PLAIN).wrapping_add(self.inactive.load(order::PLAIN))
    }

    /// Active connections. A CPU may end a connection before another one has counted that it became active: for that moment one is missing, and
    /// there are none rather than billions.
    #[inline(always)]
    pub(crate) fn active(&self) -> u64 {
        signed(&self.active).max(0) as u64
    }

    /// IPVS's measure of load: an active connection counts as much as 256 inactive ones.
    #[inline(always)]
    pub fn overhead(&self) -> u64 {
        // As a sum with a sign, so that it is never more than it will be when all has been counted.
        (signed(&self.active) * 256 + signed(&self.inactive)).max(0) as u64
    }
}

#[inline(always)]
fn signed(count: &AtomicU32) -> i64 {
    count.load(order::PLAIN) as i32 as i64
}
