//! What is counted: per destination and CPU, and per event and CPU.

use crate::cell::AtomicU64;
use crate::order;
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// One CPU's counters of one destination: a cache line of its own, so that nothing shared is written per packet.
#[repr(C, align(64))]
#[derive(Default)]
pub struct Counters {
    /// Connections scheduled here.
    pub connections: AtomicU64,
    /// Packets of clients.
    pub packets_in: AtomicU64,
    /// Packets of the real server that passed through the director.
    pub packets_out: AtomicU64,
    /// Octets of clients' packets, from the IP header on, before encapsulation.
    pub octets_in: AtomicU64,
    /// Octets of the real server's packets.
    pub octets_out: AtomicU64,
}

impl Counters {
    /// All five, in the order of the fields.
    pub fn load(&self) -> [u64; 5] {
        [&self.connections, &self.packets_in, &self.packets_out, &self.octets_in, &self.octets_out]
            .map(|cell| cell.load(order::PLAIN))
    }

    /// A connection was scheduled.
    #[inline(always)]
    pub fn connection(&self) {
        grow(&self.connections, 1);
    }

    /// A client's packet.
    #[inline(always)]
    pub fn packet_in(&self, octets: u32) {
        grow(&self.packets_in, 1);
        grow(&self.octets_in, octets as u64);
    }

    /// A packet of the real server.
    #[inline(always)]
    pub fn packet_out(&self, octets: u32) {
        grow(&self.packets_out, 1);
        grow(&self.octets_out, octets as u64);
    }
}

/// Only this CPU writes the cell: no read-modify-write instruction is needed.
#[inline(always)]
fn grow(cell: &AtomicU64, by: u64) {
    cell.store(cell.load(order::PLAIN).wrapping_add(by), order::PLAIN);
}

/// Declares [`Event`] with the words for each event beside it.
macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $words:literal,)*) => {
        /// Something that happened to a packet other than being switched as usual.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Event { $($(#[$doc])* $name,)* }

        impl Event {
            /// All events, in the order of their numbers.
            pub const ALL: &'static [Event] = &[$(Event::$name,)*];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Event::$name => stringify!($name),)* }
            }

            /// The event in words.
            pub const fn words(self) -> &'static str {
                match self { $(Event::$name => $words,)* }
            }
        }
    };
}

events! {
    /// The IP header contradicts itself or the frame. Passed: the kernel drops it and counts it as its own.
    Malformed = "passed: malformed IP or transport header",
    /// A fragment that came before the first of its packet, or that is none of the switch's business. Passed; a copy comes back
    /// when the first one has come.
    Fragment = "passed: IP fragment whose first one was not seen",
    /// An IPv6 packet with more extension headers than are walked over, or to be routed by its own list. Passed.
    ExtensionHeader = "passed: too many IPv6 extension headers, or a routing header",
    /// The service has no destination that takes new connections. Answered with "port unreachable".
    NoDestination = "dropped: service without an available destination (port unreachable sent)",
    /// The connection's destination was deleted.
    DestinationGone = "dropped: destination of the connection was deleted",
    /// The next hop towards the destination is not known (yet).
    Unresolved = "dropped: no route or neighbour for the destination",
    /// No hops were left. Answered with "time exceeded".
    TimeExceeded = "dropped: hop limit reached (time exceeded sent)",
    /// The packet does not fit the link to the destination. Answered with "too big".
    TooBig = "dropped: larger than the next hop's MTU (too big sent)",
    /// The packet did not fit the link to the destination, and may be fragmented: the director's process sends it.
    Fragmented = "sent: in fragments, larger than the next hop's MTU",
    /// The same, but the director's process does not run, has too many of them, or the packet is larger than it takes.
    NotFragmented = "dropped: to be sent in fragments, but too large, or too many such packets at once",
    /// A new connection found no room in the table.
    TableFull = "dropped: connection table full",
    /// Another CPU was creating the same connection for too long.
    Contended = "dropped: connection under creation on another CPU",
    /// An embryonic connection had to make room for a new one.
    EvictedEmbryonic = "evicted: embryonic connection, table full",
    /// A closing connection or a UDP one had to make room for a new one.
    EvictedIdle = "evicted: closing or UDP connection, table full",
    /// The frame could not be resized.
    NoRoom = "dropped: no room in the frame for another header",
    /// An ICMP error was not sent, because many others were just before.
    ErrorSuppressed = "suppressed: ICMP error beyond the rate limit",
    /// A reply whose way to the client the kernel does not know was sent back the way the request came.
    ReplyMirrored = "sent: reply along the way that the request came",
    /// The defence against floods (`drop_packet`) took a packet that would have opened a connection.
    DropRate = "dropped: one in drop_rate packets that open a connection",
    /// The service tells calls apart (`--pe sip`), and this is no message of a call.
    NoCallId = "dropped: not a UDP message with a Call-ID, for a service with --pe sip",
    /// The sender may not be told, or the frame has no room for it.
    Unanswered = "dropped: no ICMP error could be sent to this sender",
    /// The connection's destination was deleted, and its connections with it. The client was told.
    Reset = "sent: TCP reset to the client, its connection's destination was deleted",
    /// A step's program is not in its table, or a packet went through too many of them.
    NoStep = "dropped: next step of the switch missing",
}

/// A copy of the beginning of a packet that was dropped or answered with an error, for whoever watches.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Sample {
    /// Why: the [`Event`]'s number.
    pub event: u32,
    /// Octets of the frame that follow, at most [`Sample::OCTETS`].
    pub length: u32,
    /// The frame, from its link header on. What is beyond `length` means nothing.
    pub frame: [u8; Self::OCTETS],
}

impl Sample {
    /// Octets kept: tagged Ethernet, the longest IPv4 header, and ports.
    pub const OCTETS: usize = 88;
}

impl Event {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();
}
