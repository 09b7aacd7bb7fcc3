//! The switch's home on any machine: for tests, fuzzing and measurements.
//!
//! A [`Simulation`] is the shared memory that a director and the kernel would hold: tables, services, destinations,
//! clock, routes. A [`Cpu`] is one CPU's view of it with one frame in its hands. Everything is real but the
//! network: many threads may run a `Cpu` each on the same `Simulation`.

pub mod audit;
mod cpu;
pub mod decode;
pub mod packet;
mod services;
mod uncommon;

pub use crate::host::HEADROOM;
pub use audit::Connection;
pub use cpu::Cpu;
pub use decode::{Between, Decoded, Transport, decode};
pub use packet::Packet;
pub use services::{GUE_PORT, Server};
pub use uncommon::icmp_error;

use crate::cell::{AtomicU32, AtomicU64};
use crate::config::{Config, Tick};
use crate::counters::{Counters, Event};
use crate::destination::{Destination, Hop};
use crate::fragment::{FragmentKey, FragmentRecord};
use crate::mark::{LISTS, MarkRule, RULES_MAX};
use crate::order;
use crate::platform::{Memory, Verdict};
use crate::scheduler::hash::TablePart;
use crate::scheduler::locality;
use crate::scheduler::ranking::Node;
use crate::service::{Service, ServiceKey};
use crate::sip::CallKey;
use crate::steps::{Handover, Program, Step};
use crate::sync::{Change, Import};
use crate::table::{Bucket4, Bucket6, STRIPES};
use core::sync::atomic::Ordering::SeqCst;
use rlvs_packet::ethernet::Mac;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use zerocopy::{FromBytes, IntoBytes};

/// CPUs that a simulation has counters for.
pub const CPUS: usize = 8;
/// The director's interface towards clients, by which frames come in unless a [`Cpu`] says otherwise.
pub const CLIENT_SIDE: u32 = 2;
/// The director's interface towards real servers.
pub const SERVER_SIDE: u32 = 3;
/// The director's MAC.
pub const DIRECTOR_MAC: Mac = [2, 0, 0, 0, 0, 1];
/// The MAC of the clients' router.
pub const CLIENT_MAC: Mac = [2, 0, 0, 0, 0, 2];

/// A director's memory.
pub struct Simulation {
    config: Config,
    buckets4: Vec<Bucket4>,
    buckets6: Vec<Bucket6>,
    destinations: Vec<Destination>,
    services: Vec<Service>,
    members: Vec<u32>,
    ranks: Vec<Node>,
    mark_rules: Vec<MarkRule>,
    hash_tables: Vec<TablePart>,
    localities: Vec<locality::Bucket>,
    service_index: HashMap<ServiceKey, u32>,
    stripes: Vec<AtomicU32>,
    /// By CPU, then by destination.
    counters: [Vec<Counters>; CPUS],
    events: Vec<AtomicU32>,
    /// By CPU.
    handovers: [Handover; CPUS],
    fragments: Mutex<HashMap<FragmentKey, FragmentRecord>>,
    /// Fragments that came before the first of their packet, and the interfaces that they came in by.
    kept_fragments: Mutex<Vec<(FragmentKey, u32, Vec<u8>)>>,
    large: Mutex<Vec<Large>>,
    calls: Mutex<HashMap<CallKey, Vec<u8>>>,
    clock: AtomicU32,
    /// Where the sequence of random numbers is.
    random: AtomicU64,
    routes: HashMap<IpAddr, Hop>,
    /// What ways carry; what is not here carries all.
    mtus: HashMap<IpAddr, u32>,
    /// The director's own addresses.
    own: HashSet<IpAddr>,
    shown: Mutex<Vec<(Event, Vec<u8>)>>,
    told: Mutex<Vec<Change>>,
    between: fn(),
}

/// A packet to be sent in fragments: [`crate::fragment::LargePacket`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Large {
    /// Index of the interface that it leaves by.
    pub interface: u32,
    /// How large fragments may be, from the IP header on.
    pub mtu: u32,
    /// Whether the IP header is a tunnel's.
    pub is_own: bool,
    /// The frame.
    pub frame: Vec<u8>,
}

impl Simulation {
    /// Tables of so many slots for each family (a power of two, at least one bucket), and a hash key that follows from `seed`.
    pub fn new(slots: usize, seed: u64) -> Simulation {
        let buckets = slots / crate::table::WAYS;
        assert!(buckets.is_power_of_two(), "slots must be a power of two of at least one bucket");
        let simulation = Simulation {
            config: Config::default(),
            buckets4: std::iter::repeat_with(Bucket4::default).take(buckets).collect(),
            buckets6: std::iter::repeat_with(Bucket6::default).take(buckets).collect(),
            destinations: Vec::new(),
            services: Vec::new(),
            members: Vec::new(),
            ranks: Vec::new(),
            mark_rules: std::iter::repeat_with(MarkRule::default)
                .take((LISTS * RULES_MAX) as usize)
                .collect(),
            hash_tables: Vec::new(),
            localities: Vec::new(),
            service_index: HashMap::new(),
            stripes: std::iter::repeat_with(AtomicU32::default).take(STRIPES as usize).collect(),
            counters: Default::default(),
            events: std::iter::repeat_with(AtomicU32::default).take(Event::COUNT).collect(),
            handovers: Default::default(),
            fragments: Mutex::default(),
            kept_fragments: Mutex::default(),
            large: Mutex::default(),
            calls: Mutex::default(),
            // Close to the wrap, so that times on both its sides are met.
            clock: AtomicU32::new(u32::MAX - 20),
            random: AtomicU64::new(seed),
            routes: HashMap::new(),
            mtus: HashMap::new(),
            own: HashSet::new(),
            shown: Mutex::default(),
            told: Mutex::default(),
            between: || {},
        };
        let config = &simulation.config;
        let mut word = seed;
        for cell in &config.seed {
            cell.store(split_mix(&mut word), order::PLAIN);
        }
        config.mask4.store(buckets as u32 - 1, order::PLAIN);
        config.mask6.store(buckets as u32 - 1, order::PLAIN);
        config.cpus.store(CPUS as u32, order::PLAIN);
        config.generation.store(1, order::PLAIN);
        config.set_defaults();
        simulation
    }

    /// What happens at each [`Memory::interleave`] and before each step that others see or are seen by: another thread's turn, in tests of concurrency.
    pub fn between_steps(&mut self, action: fn()) {
        self.between = action;
    }

    /// The kernel's route to an address from now on, whatever the sender; connections look theirs up again.
    pub fn set_route(&mut self, to: IpAddr, hop: Hop) {
        self.routes.insert(to, hop);
        self.config.generation.fetch_add(1, SeqCst);
    }

    /// The kernel's way to an address carries so much from now on.
    pub fn set_mtu(&mut self, to: IpAddr, mtu: u32) {
        self.mtus.insert(to, mtu);
        self.config.least_mtu.fetch_min(mtu, SeqCst);
    }

    fn narrow(&self, to: IpAddr, length: u16) -> Option<u32> {
        self.mtus.get(&to).copied().filter(|mtu| *mtu < length.into())
    }

    /// Gives the director an address of its own: no packets to it are forwarded.
    pub fn add_own_address(&mut self, address: IpAddr) {
        self.own.insert(address);
    }

    /// Switches one frame on the first CPU, as if it had come from the clients' side.
    pub fn receive(&self, frame: &[u8]) -> (Verdict, Vec<u8>) {
        self.receive_from(CLIENT_SIDE, frame)
    }

    /// Switches one frame that came in by this interface.
    pub fn receive_from(&self, interface: u32, frame: &[u8]) -> (Verdict, Vec<u8>) {
        let cpu = Cpu::new(self, 0, interface, frame);
        let verdict = crate::run(&cpu);
        (verdict, cpu.into_frame())
    }

    /// Receives those early fragments again whose first one has come, as a director does; what became of them.
    pub fn receive_kept(&self) -> Vec<(Verdict, Vec<u8>)> {
        let Ok(mut kept) = self.kept_fragments.lock() else { return Vec::new() };
        let Ok(firsts) = self.fragments.lock() else { return Vec::new() };
        let ready: Vec<_> = kept.extract_if(.., |(key, ..)| firsts.contains_key(key)).collect();
        drop((kept, firsts));
        ready.iter().map(|(_, interface, frame)| self.receive_from(*interface, frame)).collect()
    }

    /// What a director would have to send in fragments.
    pub fn large(&self) -> MutexGuard<'_, Vec<Large>> {
        self.large.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets time pass: to the first tick at which so many seconds are over.
    pub fn advance(&self, seconds: u32) {
        self.advance_ticks(Tick::in_seconds(seconds));
    }

    /// Lets so many ticks pass.
    pub fn advance_ticks(&self, ticks: u32) {
        self.clock.fetch_add(ticks, SeqCst);
    }

    /// The time now.
    pub fn now(&self) -> Tick {
        Tick(self.clock.load(SeqCst))
    }

    /// How often something happened.
    pub fn events(&self, event: Event) -> u32 {
        self.events[event as usize].load(SeqCst)
    }

    /// What whoever watches has been shown: why, and the frame.
    pub fn shown(&self) -> MutexGuard<'_, Vec<(Event, Vec<u8>)>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a master has been told.
    pub fn told(&self) -> MutexGuard<'_, Vec<Change>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does with a connection that another director tells of, of this IP version, as the kernel's program does; what
    /// became of it.
    pub fn import(&self, family: u8, connection: &Import) -> (Verdict, Import) {
        let cpu = Cpu::new(self, 0, CLIENT_SIDE, connection.as_bytes());
        let mut program = if family == 6 { Program::Import6 } else { Program::Import };
        loop {
            match program.run(&cpu) {
                Step::Next(next) => program = next,
                Step::Done(verdict) => {
                    let after = Import::read_from_bytes(&cpu.into_frame()).unwrap_or_default();
                    return (verdict, after);
                }
            }
        }
    }

    /// The map, by [`crate::cell::counted::look_up`]'s names, that has what is at this address; `None`: it is the same for all packets.
    #[cfg(counted)]
    pub fn map_at(&self, address: usize) -> Option<&'static str> {
        fn holds<T>(all: &[T], address: usize) -> bool {
            let range = all.as_ptr_range();
            (range.start.addr()..range.end.addr()).contains(&address)
        }
        let maps = [
            ("connections", holds(&self.buckets4, address) || holds(&self.buckets6, address)),
            ("destinations", holds(&self.destinations, address)),
            ("services", holds(&self.services, address)),
            ("members", holds(&self.members, address)),
            ("ranks", holds(&self.ranks, address)),
            ("locks", holds(&self.stripes, address)),
            ("counters", self.counters.iter().any(|cpu| holds(cpu, address))),
        ];
        maps.into_iter().find(|(_, holds)| *holds).map(|(name, _)| name)
    }

    /// A CPU's counters of a destination.
    pub fn counters(&self, cpu: usize, destination: u32) -> Option<&Counters> {
        self.counters.get(cpu)?.get(destination as usize)
    }

    /// A destination's active and inactive connections.
    pub fn connections_of(&self, destination: u32) -> (u32, u32) {
        let destination = &self.destinations[destination as usize];
        (destination.active.load(order::PLAIN), destination.inactive.load(order::PLAIN))
    }
}

impl Memory for Simulation {
    fn config(&self) -> Option<&Config> {
        Some(&self.config)
    }

    fn bucket4(&self, index: u32) -> Option<&Bucket4> {
        self.interleave();
        self.buckets4.get(index as usize)
    }

    fn bucket6(&self, index: u32) -> Option<&Bucket6> {
        self.interleave();
        self.buckets6.get(index as usize)
    }

    fn destination(&self, index: u32) -> Option<&Destination> {
        self.destinations.get(index as usize)
    }

    fn ranks(&self, index: u32) -> Option<&Node> {
        self.ranks.get(index as usize)
    }

    fn count(&self, event: Event) {
        self.events[event as usize].fetch_add(1, SeqCst);
    }

    fn exchange(&self, cell: &AtomicU32, old: u32, new: u32) -> bool {
        self.interleave();
        cell.compare_exchange(old, new, SeqCst, SeqCst).is_ok()
    }

    fn add(&self, cell: &AtomicU32, n: u32) -> u32 {
        self.interleave();
        cell.fetch_add(n, SeqCst)
    }

    fn set(&self, cell: &AtomicU32, bits: u32) {
        self.interleave();
        cell.fetch_or(bits, SeqCst);
    }

    fn interleave(&self) {
        (self.between)();
    }
}

/// What SplitMix64's state grows by with each number.
const SPLIT_MIX_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The next number of Vigna's SplitMix64.
pub fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(SPLIT_MIX_STEP);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
