//! Virtual services as the switch sees them.

use crate::cell::{AtomicU32, AtomicU64};
use crate::order;
use crate::scheduler::Scheduler;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What identifies a virtual service: the key of the service table. Without padding, for the map compares octets;
/// aligned, for the BPF stack is read and written in aligned words only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct ServiceKey {
    /// The address in network order; an IPv4 address takes the first word. Of a mark's service: the mark.
    pub address: [u32; 4],
    /// 0.
    pub reserved: u32,
    /// The port in network order.
    pub port: u16,
    /// [`rlvs_packet::protocol`]; 0 for a mark's service.
    pub protocol: u8,
    /// 4 or 6 ([`Self::version`]), and whether it is a real server's identity.
    pub family: u8,
}

impl ServiceKey {
    /// In [`Self::family`]: the identity is a real server's, and leads to a destination.
    const REAL_SERVER: u8 = 0x80;

    /// The identity of a service with this address and port in network order, for this IP version. Made of words of eight octets,
    /// for so the compiler writes it to the stack: it would clear an address in halves of those otherwise.
    #[inline(always)]
    pub fn new(protocol: u8, family: u8, address: [u32; 4], port: u16) -> ServiceKey {
        let [a, b, c, d] = address;
        let [p0, p1] = port.to_ne_bytes();
        let pair = |first: u32, second: u32| -> u64 { zerocopy::transmute!([first, second]) };
        let last = u32::from_ne_bytes([p0, p1, protocol, family]);
        zerocopy::transmute!([pair(a, b), pair(c, d), pair(0, last)])
    }

    /// The same of a real server, with its own address and port.
    #[inline(always)]
    pub fn of_real_server(protocol: u8, family: u8, address: [u32; 4], port: u16) -> ServiceKey {
        Self::new(protocol, family | Self::REAL_SERVER, address, port)
    }

    /// Whether it is a real server's.
    pub fn is_real_server(&self) -> bool {
        self.family & Self::REAL_SERVER != 0
    }

    /// The IP version, 4 or 6.
    pub fn version(&self) -> u8 {
        self.family & !Self::REAL_SERVER
    }

    /// The identity of a mark's service for this IP version, 4 or 6.
    #[inline(always)]
    pub fn of_mark(mark: u32, family: u8) -> ServiceKey {
        Self::new(0, family, [mark, 0, 0, 0], 0)
    }

    /// The mark, if it is a mark's service.
    pub fn mark(&self) -> Option<u32> {
        (self.protocol == 0).then_some(self.address[0])
    }
}

/// Lists of a service; a power of two.
pub const LISTS: usize = 4;

/// Octets kept of a scheduler's name, as in IPVS.
pub const SCHEDULER_NAME: usize = 16;

/// A virtual service, in shared memory. The director writes it; the switch writes the schedulers' state.
///
/// The part that only the director reads is here too, so that the next director finds all it needs to go on.
///
/// What packets that open a connection need is in the first cache line, if the first list is the valid one, as it is at first.
#[derive(Default)]
#[repr(C, align(64))]
pub struct Service {
    /// Which of the lists is valid: the director prepares the next one and switches with one store.
    pub current: AtomicU32,
    /// Director only: the [`crate::scheduler::Scheduler`] that the next list will have.
    pub scheduler: AtomicU32,
    /// IPVS's flag bits: [`flag`].
    pub flags: AtomicU32,
    /// The persistence engine: 0 none, or [`ENGINE_SIP`].
    pub engine: AtomicU32,
    /// Persistence timeout in seconds.
    pub timeout: AtomicU32,
    /// Whose connections a template binds: IPv4 mask in network order, or IPv6 prefix length.
    pub netmask: AtomicU32,
    /// The destinations: the valid list, and others that a CPU may still be reading.
    pub lists: [MemberList; LISTS],

    /// 0 free, else used, growing with each service made: the order of creation.
    pub sequence: AtomicU32,
    /// The identity ([`ServiceKey`], as words).
    pub key: [AtomicU32; 6],
    /// Director only: the scheduler's name as the user gave it, padded with zeros.
    pub scheduler_name: [AtomicU32; SCHEDULER_NAME / 4],
    /// Director only: what deleted destinations had counted, in [`crate::counters::Counters`]' order.
    pub residue: [AtomicU64; 5],
    /// Director only: what the counters showed when they were last zeroed.
    pub zero: [AtomicU64; 5],
}

const _: () = assert!(core::mem::offset_of!(Service, lists) + size_of::<MemberList>() <= 64);

/// The persistence engine `sip`, in [`Service::engine`].
pub const ENGINE_SIP: u32 = 1;

/// Bits of [`Service::flags`], with IPVS's numbers.
pub mod flag {
    /// A client's connections go to one destination.
    pub const PERSISTENT: u32 = 0x1;
    /// Each UDP packet is scheduled for itself.
    pub const ONE_PACKET: u32 = 0x4;
}

impl Service {
    /// Whether calls are what templates bind to destinations, rather than clients.
    #[inline(always)]
    pub fn tells_calls_apart(&self) -> bool {
        self.engine.load(order::PLAIN) == ENGINE_SIP
    }

    /// Whether one of the flags is set.
    #[inline(always)]
    pub fn has(&self, flag: u32) -> bool {
        self.flags.load(order::PLAIN) & flag != 0
    }

    /// The identity's last word: port (as in a packet), protocol, family.
    #[inline(always)]
    fn last_word(&self) -> [u8; 4] {
        self.key[5].load(order::PLAIN).to_ne_bytes()
    }

    /// The port as it stands in a packet; 0: all ports, or a mark's service.
    #[inline(always)]
    pub fn port(&self) -> [u8; 2] {
        let [a, b, _, _] = self.last_word();
        [a, b]
    }

    /// The address, as its words are held; not of a mark's service.
    #[inline(always)]
    pub fn address_words(&self) -> [u32; 4] {
        let load = |i: usize| self.key[i].load(order::PLAIN);
        [load(0), load(1), load(2), load(3)]
    }

    /// The mark, if the service is one for marked packets: its identity has no protocol.
    #[inline(always)]
    pub fn mark(&self) -> Option<u32> {
        let [_, _, protocol, _] = self.last_word();
        (protocol == 0).then(|| self.key[0].load(order::PLAIN))
    }
}

/// A version of a service's destinations, with the state of the scheduler that walks it.
#[derive(Default)]
#[repr(C)]
pub struct MemberList {
    /// A [`crate::scheduler::Scheduler`]'s number.
    pub scheduler: AtomicU32,
    /// Hashing schedulers: where the table starts in the array of [`crate::scheduler::hash::TablePart`]s.
    pub table: AtomicU32,
    /// Where the list starts in the array of members. A new member is put before the others, so it takes one store of
    /// this word to add it.
    pub first: AtomicU32,
    /// Where it ends: behind its last member. It has at most [`crate::scheduler::MEMBERS_MAX`].
    pub end: AtomicU32,
    /// How many there is space for, in this list and in each of the service's others that are in the same room: a power of two.
    pub space: AtomicU32,
    /// Where in the array of members the last choice is; [`CURSOR_START`] before the first.
    pub cursor: AtomicU32,
    /// Weighted round robin: the present threshold.
    pub threshold: AtomicU32,
    /// Weighted round robin: greatest common divisor of the weights.
    pub step: AtomicU32,
    /// Weighted round robin: the highest threshold; 0 if no member has a weight.
    pub maximum: AtomicU32,
    /// Held (1) by the CPU that moves cursor and threshold together.
    pub lock: AtomicU32,
}

impl MemberList {
    /// Whether this scheduler chooses among the members.
    #[inline(always)]
    pub fn scheduled_by(&self, scheduler: Scheduler) -> bool {
        self.scheduler.load(order::PLAIN) == scheduler as u32
    }
}

/// A cursor before the first member.
pub const CURSOR_START: u32 = u32::MAX;
