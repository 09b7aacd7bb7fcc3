//! Who serves which address: what the locality-based schedulers (lblc, lblcr) remember of the addresses that clients
//! want.
//!
//! A set-associative table of fixed size in shared memory. The switch uses a bucket under its lock, for a bounded time.
//! In a full bucket, the address that was not wanted for the longest is forgotten.

use super::{NOBODY, lock};
use crate::cell::AtomicU32;
use crate::config::{Config, Tick};
use crate::order;
use crate::platform::Platform;

/// Buckets; a power of two. With [`WAYS`], as many addresses as IPVS keeps.
pub const BUCKETS: usize = 4096;
/// Addresses in a bucket.
pub const WAYS: usize = 4;
/// Most destinations that are remembered for an address. Whom lblcr chooses beyond them serves one connection.
pub const SERVERS_MAX: usize = 28;

/// Addresses of one hash.
#[derive(Default)]
#[repr(C, align(64))]
pub struct Bucket {
    /// Held (1) by the CPU that uses the bucket.
    pub lock: AtomicU32,
    /// The addresses.
    pub addresses: [Address; WAYS],
}

/// An address that clients of one service wanted.
#[derive(Default)]
#[repr(C, align(64))]
pub struct Address {
    /// [`crate::service::Service::sequence`]; 0: free.
    pub service: AtomicU32,
    /// When it was last wanted ([`Tick`]).
    pub used: AtomicU32,
    /// When a destination last came or went ([`Tick`]).
    pub changed: AtomicU32,
    /// How many destinations serve it.
    pub length: AtomicU32,
    /// The address in network order; IPv4 takes the first word.
    pub address: [AtomicU32; 4],
    /// Who serves it, the latest last.
    pub servers: [Server; SERVERS_MAX],
}

/// A destination that serves an address.
#[derive(Default)]
#[repr(C)]
pub struct Server {
    /// The destination's index.
    pub destination: AtomicU32,
    /// Its [`crate::destination::Destination::incarnation`]: with another one, the index is another destination's.
    pub incarnation: AtomicU32,
}

/// An address that a client of a service wants.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    /// [`crate::service::Service::sequence`].
    pub(crate) service: u32,
    /// In network order; IPv4 takes the first word.
    pub(crate) address: [u32; 4],
}

/// Who serves an address for the service of this [`crate::service::Service::sequence`], the latest last; nobody if it is
/// not remembered. Destinations that have gone are left out.
#[cfg(feature = "host")]
pub fn servers<P: Platform>(platform: &P, service: u32, address: [u32; 4]) -> Vec<u32> {
    let wanted = Wanted { service, address };
    let servers = wanted.look(platform, |address, known| {
        let places = if known { 0..address.length.load(order::PLAIN) } else { 0..0 };
        let indices = places.filter_map(|place| Some(address.server(place)?.index(platform)));
        indices.filter(|index| *index != NOBODY).collect()
    });
    servers.unwrap_or_default()
}

impl Wanted {
    /// Runs `action` on what is remembered of the address, while nobody else does. If it was not known, the place of
    /// another one is given for the taking, and `false`. `None` if the bucket was in use for too long.
    #[inline(always)]
    pub(super) fn look<P: Platform, R>(
        self,
        platform: &P,
        action: impl FnOnce(&Address, bool) -> R,
    ) -> Option<R> {
        let bucket = platform.locality(self.hash(platform.config()?) & (BUCKETS as u32 - 1))?;
        if !lock(platform, &bucket.lock) {
            return None;
        }
        let (way, known) = self.find(bucket, platform.now());
        let result = bucket.addresses.get(way).map(|address| action(address, known));
        bucket.lock.store(0, order::PUBLISH);
        result
    }

    /// Multilinear hashing with the table's key: nobody else can tell which addresses share a bucket.
    #[inline(always)]
    fn hash(self, config: &Config) -> u32 {
        let term = |i: usize, word: u32| config.seed[i].load(order::PLAIN).wrapping_mul(word as u64);
        let [a, b, c, d] = self.address;
        let sum = config.seed[0]
            .load(order::PLAIN)
            .wrapping_add(term(1, a))
            .wrapping_add(term(2, b))
            .wrapping_add(term(3, c))
            .wrapping_add(term(4, d))
            .wrapping_add(term(5, self.service));
        (sum >> 32) as u32
    }

    /// The address's place and true, or else the place that is free or was not used for the longest.
    #[inline(always)]
    fn find(self, bucket: &Bucket, now: Tick) -> (usize, bool) {
        let (mut oldest, mut longest) = (0, -1);
        let mut way = 0;
        while way < WAYS {
            let address = &bucket.addresses[way];
            let service = address.service.load(order::PLAIN);
            if service == self.service && address.is(self.address) {
                return (way, true);
            }
            let unused = match service {
                0 => i32::MAX,
                _ => Tick(address.used.load(order::PLAIN)).until(now).max(0),
            };
            if unused > longest {
                (oldest, longest) = (way, unused);
            }
            way += 1;
        }
        (oldest, false)
    }
}

impl Address {
    #[inline(always)]
    fn is(&self, address: [u32; 4]) -> bool {
        let differs = |i: usize| self.address[i].load(order::PLAIN) ^ address[i];
        differs(0) | differs(1) | differs(2) | differs(3) == 0
    }

    /// It is wanted now.
    #[inline(always)]
    pub(super) fn touch(&self, now: Tick) {
        self.used.store(now.0, order::PLAIN);
    }

    /// From now on the place is for this address, which this destination alone serves.
    #[inline(always)]
    pub(super) fn take<P: Platform>(&self, platform: &P, wanted: Wanted, destination: u32) {
        let mut i = 0;
        while i < 4 {
            self.address[i].store(wanted.address[i], order::PLAIN);
            i += 1;
        }
        let now = platform.now();
        self.touch(now);
        self.changed.store(now.0, order::PLAIN);
        self.servers[0].store(platform, destination);
        self.length.store(1, order::PLAIN);
        self.service.store(wanted.service, order::PLAIN);
    }

    /// This destination serves it too, unless there is no room.
    #[inline(always)]
    pub(super) fn add<P: Platform>(&self, platform: &P, destination: u32) {
        let mut i = 0;
        while i < SERVERS_MAX as u32 {
            match self.server(i) {
                Some(server) if server.index(platform) != destination => i += 1,
                Some(_) => return,
                None => break,
            }
        }
        let length = self.length.load(order::PLAIN);
        if let Some(server) = self.servers.get(length as usize) {
            server.store(platform, destination);
            self.length.store(length.wrapping_add(1), order::PLAIN);
            self.changed.store(platform.now().0, order::PLAIN);
        }
    }

    /// The destination at this place serves it no longer.
    #[inline(always)]
    pub(super) fn remove<P: Platform>(&self, platform: &P, place: u32) {
        let mut i = place;
        let mut moves = 0;
        while moves < SERVERS_MAX {
            let (Some(to), Some(from)) = (self.server(i), self.server(i.wrapping_add(1))) else { break };
            to.destination.store(from.destination.load(order::PLAIN), order::PLAIN);
            to.incarnation.store(from.incarnation.load(order::PLAIN), order::PLAIN);
            i = i.wrapping_add(1);
            moves += 1;
        }
        let length = self.length.load(order::PLAIN);
        self.length.store(length.saturating_sub(1), order::PLAIN);
        self.changed.store(platform.now().0, order::PLAIN);
    }

    /// The server at a place, counted from 0.
    #[inline(always)]
    pub(super) fn server(&self, place: u32) -> Option<&Server> {
        // Hidden from the compiler, which would step from server to server by pointers that the verifier cannot bound.
        let place = core::hint::black_box(place);
        if place >= self.length.load(order::PLAIN) {
            return None;
        }
        self.servers.get(place as usize)
    }

    /// The place of the latest server.
    #[inline(always)]
    pub(super) fn latest(&self) -> u32 {
        self.length.load(order::PLAIN).wrapping_sub(1)
    }

    /// Ticks since it was last wanted.
    pub fn unused(&self, now: Tick) -> i64 {
        Tick(self.used.load(order::PLAIN)).until(now).into()
    }

    /// Forgets the address. If a CPU notes it at the same moment, its clients may get another destination.
    pub fn forget(&self) {
        self.service.store(0, order::PLAIN);
    }
}

impl Server {
    /// The destination's index, or [`NOBODY`] if the index is another destination's by now.
    #[inline(always)]
    pub(super) fn index<P: Platform>(&self, platform: &P) -> u32 {
        let index = self.destination.load(order::PLAIN);
        let incarnation = self.incarnation.load(order::PLAIN);
        match platform.destination(index) {
            Some(destination) if destination.incarnation.load(order::PLAIN) == incarnation => index,
            _ => NOBODY,
        }
    }

    #[inline(always)]
    fn store<P: Platform>(&self, platform: &P, index: u32) {
        let incarnation = platform.destination(index).map_or(0, |d| d.incarnation.load(order::PLAIN));
        self.destination.store(index, order::PLAIN);
        self.incarnation.store(incarnation, order::PLAIN);
    }
}
