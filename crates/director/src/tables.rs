//! The data plane's maps as shared memory.

use crate::memory::Mapped;
use aya::maps::{HashMap, MapData};
use rlvs_switch::Memory;
use rlvs_switch::cell::AtomicU32;
use rlvs_switch::config::{Config, Tick};
use rlvs_switch::counters::{Counters, Event};
use rlvs_switch::destination::Destination;
use rlvs_switch::mark::MarkRule;
use rlvs_switch::scheduler::hash::TablePart;
use rlvs_switch::scheduler::locality;
use rlvs_switch::scheduler::ranking::Node;
use rlvs_switch::service::Service;
use rlvs_switch::sip::{CallId, CallKey};
use rlvs_switch::table::{Bucket4, Bucket6};
use std::sync::atomic::Ordering;

/// An element of the array that all services' member lists are cut from.
#[repr(C, align(8))]
#[derive(Debug)]
pub struct Member(pub AtomicU32);

/// Templates' Call-IDs, in the map's own form: the octets of [`CallKey`] and of [`CallId`].
pub(crate) type Calls = HashMap<MapData, [u8; size_of::<CallKey>()], [u8; size_of::<CallId>()]>;

/// All that director and switch share.
pub struct Tables {
    pub(crate) config: Mapped<Config>,
    pub(crate) connections4: Mapped<Bucket4>,
    pub(crate) connections6: Mapped<Bucket6>,
    pub(crate) services: Mapped<Service>,
    pub(crate) members: Mapped<Member>,
    pub(crate) ranks: Mapped<Node>,
    pub(crate) mark_rules: Mapped<MarkRule>,
    pub(crate) hash_tables: Mapped<TablePart>,
    pub(crate) localities: Mapped<locality::Bucket>,
    pub(crate) destinations: Mapped<Destination>,
    pub(crate) counters: Mapped<Counters>,
    pub(crate) calls: Calls,
}

impl Tables {
    /// The settings.
    pub fn settings(&self) -> &Config {
        &self.config.all()[0]
    }

    /// What a destination has counted on all CPUs: connections, packets in and out, octets in and out.
    pub fn counted(&self, destination: u32) -> [u64; 5] {
        let cpus = self.settings().cpus();
        let mut sum = [0u64; 5];
        for cpu in 0..cpus {
            let Some(one) = self.counters.get(destination * cpus + cpu) else { continue };
            for (sum, more) in sum.iter_mut().zip(one.load()) {
                *sum = sum.wrapping_add(more);
            }
        }
        sum
    }

    /// The time, as the switch counts it.
    pub fn now(&self) -> Tick {
        now()
    }
}

/// The time, as the switch counts it.
pub(crate) fn now() -> Tick {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    Tick::from_nanoseconds(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}

impl Memory for Tables {
    fn config(&self) -> Option<&Config> {
        self.config.get(0)
    }

    fn bucket4(&self, index: u32) -> Option<&Bucket4> {
        self.connections4.get(index)
    }

    fn bucket6(&self, index: u32) -> Option<&Bucket6> {
        self.connections6.get(index)
    }

    fn destination(&self, index: u32) -> Option<&Destination> {
        self.destinations.get(index)
    }

    fn ranks(&self, index: u32) -> Option<&Node> {
        self.ranks.get(index)
    }

    /// The director takes only expired entries, which is no event.
    fn count(&self, _: Event) {}

    fn set(&self, cell: &AtomicU32, bits: u32) {
        cell.fetch_or(bits, Ordering::SeqCst);
    }

    fn exchange(&self, cell: &AtomicU32, old: u32, new: u32) -> bool {
        cell.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    fn add(&self, cell: &AtomicU32, n: u32) -> u32 {
        cell.fetch_add(n, Ordering::SeqCst)
    }
}
