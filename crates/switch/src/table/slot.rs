//! A slot of the table and the entry in it.

use super::family::{Family, Tuple};
use super::trace;
use crate::cell::{AtomicU32, AtomicU64};
use crate::config::Tick;
use crate::destination::Hop;
use crate::order;

/// A slot, in shared memory: 64 octets for IPv4, 128 for IPv6.
#[repr(C, align(64))]
pub struct Slot<F: Family> {
    tuple: F::TupleCell,
    /// [`Meta`].
    pub meta: AtomicU32,
    /// When the entry expires, unless its peer does later.
    pub expires: AtomicU32,
    /// Index of the destination.
    destination: AtomicU32,
    /// Index of the connection's other slot; the entry's own if it is alone.
    peer: AtomicU32,
    /// In a reply entry the hop's words; its spare bits hold the generation of routes that it was looked up in.
    /// In other entries the first one's upper half is [`Told`], and in a template its lower half the timeout in ticks.
    hop_start: AtomicU64,
    /// Lower half first. In the forward entry of an FTP control connection the first one is the client's mode ([`crate::ftp`]). In
    /// what is a controller the second one is the number of connections that it controls.
    hop_end: [AtomicU32; 2],
    address: F::AddressCell,
    /// The new port (as it stands in a packet) and the forwarding method.
    port_method: AtomicU32,
    /// In a reply entry the hop's interface. In a forward entry what controls it: its slot's index and one, or 0.
    hop_interface: AtomicU32,
    /// Not part of the slot's entry: where entries are that belong here by their hash but found this slot taken
    /// ([`super::trace`]).
    pub(super) elsewhere: AtomicU32,
}

impl<F: Family> Default for Slot<F> {
    /// Free, as zeroed memory is.
    fn default() -> Self {
        Slot {
            tuple: F::TupleCell::default(),
            meta: AtomicU32::default(),
            expires: AtomicU32::default(),
            destination: AtomicU32::default(),
            peer: AtomicU32::default(),
            hop_start: AtomicU64::default(),
            hop_end: Default::default(),
            address: F::AddressCell::default(),
            port_method: AtomicU32::default(),
            hop_interface: AtomicU32::default(),
            elsewhere: AtomicU32::default(),
        }
    }
}

const _: () = assert!(size_of::<Slot<super::V4>>() == 64);
const _: () = assert!(size_of::<Slot<super::V6>>() == 128);

/// A slot's version (16 bits), the entry's protocol state (8 bits) and flags (8 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta(pub u32);

impl Meta {
    const LIVE: u32 = 1;
    const BUSY: u32 = 2;
    const REPLY: u32 = 4;
    const PAIRING: u32 = 8;
    const TEMPLATE: u32 = 16;
    const CONTROLLER: u32 = 32;
    const PAIRED: u32 = 64;

    /// Whether there is an entry.
    #[inline(always)]
    pub fn is_live(self) -> bool {
        self.0 & Self::LIVE != 0
    }

    /// Whether there is neither an entry nor somebody who writes one.
    #[inline(always)]
    pub fn is_free(self) -> bool {
        self.0 & (Self::LIVE | Self::BUSY) == 0
    }

    /// Whether the entry is for packets from the real server.
    #[inline(always)]
    pub fn is_reply(self) -> bool {
        self.0 & Self::REPLY != 0
    }

    /// Whether the entry is a template: what binds the clients of a persistent service to a destination.
    #[inline(always)]
    pub fn is_template(self) -> bool {
        self.0 & Self::TEMPLATE != 0
    }

    /// Whether the entry controls connections, or has done so: see [`super::control`].
    #[inline(always)]
    pub fn is_controller(self) -> bool {
        self.0 & Self::CONTROLLER != 0
    }

    /// The same entry as one that controls connections.
    #[inline(always)]
    pub fn controller(self) -> Meta {
        Meta(self.0 | Self::CONTROLLER)
    }

    /// Whether a CPU is about to give this forward entry its peer, or holds this controller. Until then nobody may release it.
    #[inline(always)]
    pub fn is_pairing(self) -> bool {
        self.0 & Self::PAIRING != 0
    }

    /// The same entry in the hands of a CPU that gives it its peer.
    #[inline(always)]
    pub fn pairing(self) -> Meta {
        Meta(self.0 | Self::PAIRING)
    }

    /// What to add to the `meta` of an entry in hand to let it go, whatever its state has become.
    pub const LET_GO: u32 = Self::PAIRING.wrapping_neg();

    /// The same for one that has got its peer.
    pub const PAIR: u32 = Self::PAIRED - Self::PAIRING;

    /// The same forward entry as one that has a peer. It keeps this mark, so that whoever read it before does not take it for one that is
    /// alone still.
    #[inline(always)]
    pub fn paired(self) -> Meta {
        Meta(self.0 | Self::PAIRED)
    }

    /// The connection's state; in a reply entry a copy that may lag.
    #[inline(always)]
    pub fn state(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// The same entry in another state.
    #[inline(always)]
    pub fn with_state(self, state: u8) -> Meta {
        Meta(self.0 & 0xffff_00ff | (state as u32) << 8)
    }

    /// The number that grows when the slot changes hands (16 bits).
    #[inline(always)]
    pub fn version(self) -> u32 {
        self.0 >> 16
    }

    /// Whether both were read in the life of the same entry.
    #[inline(always)]
    pub fn same_version(self, other: Meta) -> bool {
        self.version() == other.version()
    }

    /// The slot in the hands of a writer, under its next version.
    #[inline(always)]
    pub fn claimed(self) -> Meta {
        Meta((self.0 & 0xffff_0000).wrapping_add(0x1_0000) | Self::BUSY)
    }

    /// The slot without an entry, under its next version.
    #[inline(always)]
    pub fn freed(self) -> Meta {
        Meta((self.0 & 0xffff_0000).wrapping_add(0x1_0000))
    }

    /// The claimed slot with its entry.
    #[inline(always)]
    pub fn live(self, state: u8, kind: Kind) -> Meta {
        let kind = match kind {
            Kind::Forward => Self::LIVE,
            Kind::Reply => Self::LIVE | Self::REPLY,
            Kind::Template => Self::LIVE | Self::TEMPLATE | Self::CONTROLLER,
        };
        Meta(self.0 & 0xffff_0000 | (state as u32) << 8 | kind)
    }
}

/// What an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Packets from the client.
    Forward,
    /// Packets from the real server.
    Reply,
    /// Binding a client's connections to a destination.
    Template,
}

/// What a slot holds besides tuple, state and time.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(align(8))] // As for the tuple.
pub struct Entry<F: Family> {
    /// Index of the destination.
    pub destination: u32,
    /// Index of the connection's other slot; the entry's own if it is alone.
    pub peer: u32,
    /// With NAT: the real server's address in the forward entry, the VIP in the reply entry.
    pub address: F::Address,
    /// With NAT: the port that goes with it, as it stands in a packet.
    pub port: [u8; 2],
    /// [`crate::destination::method`].
    pub method: u8,
    /// In a reply entry: the way to the client, as it was when looked up last, and the generation of routes then.
    /// In other entries the words of [`Binding`].
    pub hop: Hop,
}

impl<F: Family> Entry<F> {
    /// Where it leads.
    #[inline(always)]
    pub fn target(&self) -> Target<F> {
        Target { destination: self.destination, address: self.address, port: self.port, method: self.method }
    }
}

/// Where an entry leads: what each packet of its connection needs of it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(align(8))] // As for the tuple.
pub struct Target<F: Family> {
    /// [`Entry::destination`].
    pub destination: u32,
    /// [`Entry::address`].
    pub address: F::Address,
    /// [`Entry::port`].
    pub port: [u8; 2],
    /// [`Entry::method`].
    pub method: u8,
}

/// What forward entries and templates hold in the place of a reply entry's hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// A connection that nothing controls.
    Free,
    /// A connection that the entry in the slot of this index controls.
    Controlled(u32),
    /// A template, with its timeout in ticks. It controls no connection yet.
    Template(u32),
}

impl Binding {
    /// In the words of a hop.
    #[inline(always)]
    pub fn pack(self) -> Hop {
        match self {
            Binding::Free => Hop::UNKNOWN,
            Binding::Controlled(by) => Hop { interface: by.wrapping_add(1), ..Hop::UNKNOWN },
            Binding::Template(timeout) => Hop { start: timeout as u64, ..Hop::UNKNOWN },
        }
    }
}

/// What a forward entry or a template keeps of the time when it was last synchronised with another director: its state then (8 bits), and
/// when it was to expire, in [`Told::UNIT`]s (24 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told(u32);

impl Told {
    /// Never yet; what a new entry has.
    pub const NEVER: Told = Told(0);
    /// Ticks in a unit of time: a second.
    pub const UNIT: u32 = 1 << 4;

    /// Synchronised in this state, with this expiry.
    #[inline(always)]
    pub fn new(state: u8, expires: Tick) -> Told {
        Told((state as u32) << 24 | (expires.0 / Self::UNIT) & 0xff_ffff)
    }

    /// The state.
    #[inline(always)]
    pub fn state(self) -> u8 {
        (self.0 >> 24) as u8
    }

    /// By how many ticks (whole units) the expiry has been put off since, if it is `expires` now; negative: it has come nearer.
    pub fn moved(self, expires: Tick) -> i32 {
        let by = (expires.0 / Self::UNIT).wrapping_sub(self.0) << 8;
        (by as i32 >> 8) * Self::UNIT as i32
    }

    /// As the upper half of the word that it is kept in.
    #[inline(always)]
    pub(crate) fn pack(self) -> u64 {
        (self.0 as u64) << 32
    }
}

/// The port of a template that nobody is to find.
pub const HIDDEN: [u8; 2] = [0xff; 2];

impl<F: Family> Slot<F> {
    /// Reads `meta`, and what was published with it after that.
    #[inline(always)]
    pub fn meta(&self) -> Meta {
        Meta(self.meta.load(order::LOAD))
    }

    /// Whether it holds this tuple (live or not).
    #[inline(always)]
    pub fn holds(&self, tuple: &Tuple<F>) -> bool {
        F::holds(&self.tuple, tuple)
    }

    /// Its expiry time, the peer left aside.
    #[inline(always)]
    pub fn expires(&self) -> Tick {
        Tick(self.expires.load(order::PLAIN))
    }

    /// Puts the expiry off. Written only if it changes: a line that is only read stays in all CPUs' caches.
    #[inline(always)]
    pub fn refresh(&self, expires: Tick) {
        if self.expires() != expires {
            self.expires.store(expires.0, order::PLAIN);
        }
    }

    /// The peer's index, to be checked by what is found there.
    #[inline(always)]
    pub fn peer(&self) -> u32 {
        self.peer.load(order::PLAIN)
    }

    /// The tuple's protocol, to be checked by the version if it matters.
    #[inline(always)]
    pub(super) fn protocol(&self) -> u8 {
        F::load_tuple(&self.tuple).protocol
    }

    /// The tuple; `None` if the slot's version is not `meta`'s any more.
    #[inline(always)]
    pub fn tuple(&self, meta: Meta) -> Option<Tuple<F>> {
        let tuple = F::load_tuple(&self.tuple);
        self.still(meta).then_some(tuple)
    }

    /// The entry; `None` if the slot's version is not `meta`'s any more.
    #[inline(always)]
    pub fn entry(&self, meta: Meta) -> Option<Entry<F>> {
        let Target { destination, address, port, method } = self.load_target();
        let entry = Entry { destination, peer: self.peer(), address, port, method, hop: self.load_hop() };
        self.still(meta).then_some(entry)
    }

    /// Of the entry what packets need; `None` as above.
    #[inline(always)]
    pub fn target(&self, meta: Meta) -> Option<Target<F>> {
        let target = self.load_target();
        self.still(meta).then_some(target)
    }

    /// Of a reply entry the way to the client; `None` as above.
    #[inline(always)]
    pub fn hop(&self, meta: Meta) -> Option<Hop> {
        let hop = self.load_hop();
        self.still(meta).then_some(hop)
    }

    #[inline(always)]
    fn load_target(&self) -> Target<F> {
        let [p0, p1, method, _] = self.port_method.load(order::PLAIN).to_ne_bytes();
        Target {
            destination: self.destination.load(order::PLAIN),
            address: F::load(&self.address),
            port: [p0, p1],
            method,
        }
    }

    #[inline(always)]
    fn load_hop(&self) -> Hop {
        Hop {
            interface: self.hop_interface.load(order::PLAIN),
            start: self.hop_start.load(order::PLAIN),
            end: self.hop_end[0].load(order::PLAIN) as u64
                | (self.hop_end[1].load(order::PLAIN) as u64) << 32,
        }
    }

    /// Of the entry the destination and the peer only; `None` as above.
    #[inline(always)]
    pub fn destination_and_peer(&self, meta: Meta) -> Option<(u32, u32)> {
        let both = (self.destination.load(order::PLAIN), self.peer());
        self.still(meta).then_some(both)
    }

    /// Of a forward entry: the index of the slot that controls it; to be checked by the version if it matters.
    #[inline(always)]
    pub fn controller(&self) -> Option<u32> {
        self.hop_interface.load(order::PLAIN).checked_sub(1)
    }

    /// Of an FTP control connection's forward entry: how the client means to get its data ([`crate::ftp`]).
    #[inline(always)]
    pub(crate) fn ftp_mode(&self) -> u32 {
        self.hop_end[0].load(order::PLAIN)
    }

    /// Changes [`Self::ftp_mode`].
    #[inline(always)]
    pub(crate) fn set_ftp_mode(&self, mode: u32) {
        self.hop_end[0].store(mode, order::PLAIN);
    }

    /// Of a controller: the number of connections that it controls.
    #[inline(always)]
    pub fn controls(&self) -> &AtomicU32 {
        &self.hop_end[1]
    }

    /// Whether the entry, read as `meta`, controls connections now.
    #[inline(always)]
    pub fn is_in_control(&self, meta: Meta) -> bool {
        meta.is_controller() && self.controls().load(order::PLAIN) != 0
    }

    /// Of a forward entry or a template: when it was last synchronised.
    #[inline(always)]
    pub fn told(&self) -> Told {
        Told((self.hop_start.load(order::PLAIN) >> 32) as u32)
    }

    /// Notes that it was synchronised just now; not if the slot's version is not `meta`'s any more. The switch may change the
    /// word's other half at the same time.
    #[cfg(not(target_arch = "bpf"))]
    pub fn set_told(&self, meta: Meta, told: Told) {
        let change = |word: u64| self.still(meta).then_some(told.pack() | word & 0xffff_ffff);
        let _gone = self.hop_start.fetch_update(order::PLAIN, order::PLAIN, change);
    }

    /// The same from within the switch, with the lower half. Of templates only for whoever holds them.
    #[inline(always)]
    pub(crate) fn import_told(&self, told: Told, timeout: u32) {
        self.hop_start.store(told.pack() | timeout as u64, order::PLAIN);
    }

    /// Of a template: its timeout in ticks.
    #[inline(always)]
    pub fn timeout(&self) -> u32 {
        self.hop_start.load(order::PLAIN) as u32
    }

    /// Changes a template's timeout (ticks). Only for whoever holds it.
    #[inline(always)]
    pub fn set_timeout(&self, ticks: u32) {
        self.hop_start.store(ticks as u64, order::PLAIN);
    }

    /// Makes a template's tuple one that nobody looks for, as IPVS does: ports 0 and [`HIDDEN`]. Only for whoever holds it.
    #[inline(always)]
    pub fn hide(&self) {
        let tuple = F::load_tuple(&self.tuple);
        F::store_tuple(&self.tuple, &Tuple { ports: [[0; 2], HIDDEN], ..tuple });
        let [_, _, method, rest] = self.port_method.load(order::PLAIN).to_ne_bytes();
        let [a, b] = HIDDEN;
        self.port_method.store(u32::from_ne_bytes([a, b, method, rest]), order::PLAIN);
    }

    #[inline(always)]
    fn still(&self, meta: Meta) -> bool {
        order::after_loads();
        Meta(self.meta.load(order::PLAIN)).same_version(meta)
    }

    /// Writes tuple and entry, with `peer` in the place of the entry's. Only for whoever has claimed the slot.
    #[inline(always)]
    pub fn fill(&self, tuple: &Tuple<F>, entry: &Entry<F>, peer: u32, expires: Tick) {
        order::after_stores();
        F::store_tuple(&self.tuple, tuple);
        self.expires.store(expires.0, order::PLAIN);
        self.destination.store(entry.destination, order::PLAIN);
        self.peer.store(peer, order::PLAIN);
        F::store(&self.address, entry.address);
        let [p0, p1] = entry.port;
        self.port_method.store(u32::from_ne_bytes([p0, p1, entry.method, 0]), order::PLAIN);
        self.store_hop(&entry.hop);
    }

    /// Names the other slot. Only for whoever has this entry in [`Meta::pairing`].
    #[inline(always)]
    pub fn set_peer(&self, peer: u32) {
        self.peer.store(peer, order::PLAIN);
    }

    /// Writes another way to the client into a reply entry. Two CPUs may do so at once: both have just looked
    /// it up, and a mixture lasts for a packet at most.
    #[inline(always)]
    pub fn store_hop(&self, hop: &Hop) {
        self.hop_start.store(hop.start, order::PLAIN);
        self.hop_end[0].store(hop.end as u32, order::PLAIN);
        self.hop_end[1].store((hop.end >> 32) as u32, order::PLAIN);
        self.hop_interface.store(hop.interface, order::PLAIN);
    }

    /// Whether there may be entries elsewhere whose home slot this is.
    #[inline(always)]
    pub fn leads_elsewhere(&self) -> bool {
        trace::is_left(self.elsewhere.load(order::PLAIN))
    }

    /// Makes the claimed slot's entry visible.
    #[inline(always)]
    pub fn publish(&self, meta: Meta) {
        self.meta.store(meta.0, order::PUBLISH);
    }
}
