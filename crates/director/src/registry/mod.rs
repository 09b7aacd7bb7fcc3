//! Services, destinations and mark rules: IPVS's commands and ours, carried out on the shared tables.
//!
//! The tables are the truth, and all of it: what is here besides (who is a member of what, rates) is read from them
//! at the start. A change becomes visible to packets by one store, of a service's current list or of a word.

mod callers;
mod daemons;
mod destinations;
mod handler;
mod hash_tables;
pub(crate) mod keys;
pub(crate) mod localities;
mod marks;
mod members;
pub(crate) mod rooms;
mod services;
mod space;
mod synced;
mod ways;

use crate::dataplane::KeyOctets;
use crate::estimator::Estimator;
use crate::tables::Tables;
use aya::maps::{HashMap as BpfHashMap, MapData};
use hash_tables::{HashTable, HashTables};
use rlvs_ipvs::{DestinationId, Errno, ServiceId, Stats};
use rlvs_switch::order;
use rlvs_switch::service::ServiceKey;
use rooms::{Room, Rooms};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

pub use ways::Watch;

/// All services and destinations of the director.
pub struct Registry {
    tables: Arc<Tables>,
    index: BpfHashMap<MapData, KeyOctets, u32>,
    /// In the order of creation, by [`rlvs_switch::service::Service::sequence`].
    services: BTreeMap<u32, Service>,
    by_id: HashMap<ServiceId, u32>,
    destinations: HashMap<u32, Destination>,
    /// All destinations by service and identity, the deleted ones that may come back included.
    by_name: HashMap<(ServiceKey, DestinationId), u32>,
    ways: ways::Ways,
    hash_tables: HashTables,
    /// Services whose hash tables are those of before.
    outdated: BTreeSet<u32>,
    rooms: Rooms,
    /// Real servers that may start calls, as the switch knows them.
    callers: BTreeMap<KeyOctets, u32>,
    /// Deleted destinations that connections still name, and since when.
    trash: HashMap<u32, Instant>,
    marks: marks::Marks,
    last_sequence: u32,
    last_service: u32,
    last_destination: u32,
}

/// What the registry keeps of a service besides the table.
struct Service {
    index: u32,
    id: ServiceId,
    /// Indices of its destinations, the newest first.
    members: Vec<u32>,
    table: HashTable,
    room: Room,
    /// When each of its lists was last retired.
    retired: [Option<Instant>; rlvs_switch::service::LISTS],
    rates: Estimator,
}

/// What it keeps of a destination.
struct Destination {
    id: DestinationId,
    rates: Estimator,
}

impl Registry {
    /// Reads the tables, be they empty or an earlier director's.
    pub fn new(tables: Arc<Tables>, index: BpfHashMap<MapData, KeyOctets, u32>) -> Registry {
        let mut registry = Registry {
            hash_tables: HashTables::new(tables.hash_tables.all().len()),
            rooms: Rooms::new(tables.members.all().len()),
            tables,
            index,
            outdated: BTreeSet::new(),
            services: BTreeMap::new(),
            by_id: HashMap::new(),
            destinations: HashMap::new(),
            by_name: HashMap::new(),
            ways: ways::Ways::default(),
            callers: BTreeMap::new(),
            trash: HashMap::new(),
            marks: marks::Marks::default(),
            last_sequence: 0,
            last_service: 0,
            last_destination: 0,
        };
        registry.adopt();
        registry.adopt_marks();
        registry.adopt_callers();
        registry.set_look_ups();
        registry
    }

    /// Numbers of services and destinations.
    pub fn size(&self) -> (usize, usize) {
        (self.services.len(), self.services.values().map(|service| service.members.len()).sum())
    }

    /// Whether there is a service.
    pub fn has_services(&self) -> bool {
        !self.services.is_empty()
    }

    /// The index of the service with this identity, as the switch finds it.
    pub(crate) fn find_service(&self, key: &ServiceKey) -> Option<u32> {
        self.index.get(&keys::octets(key), 0).ok()
    }

    /// Renews the rates; to be called every [`crate::estimator::INTERVAL`] seconds.
    pub(crate) fn estimate(&mut self) {
        for service in self.services.values_mut() {
            let counted = service_counted(&self.tables, service);
            service.rates.update(counted);
        }
        for (index, destination) in &mut self.destinations {
            destination.rates.update(self.tables.counted(*index));
        }
    }

    fn next_sequence(&mut self) -> u32 {
        self.last_sequence += 1;
        self.last_sequence
    }
}

/// What a service's present and former destinations have counted for it.
fn service_counted(tables: &Tables, service: &Service) -> [u64; 5] {
    let mut sum = [0u64; 5];
    if let Some(entry) = tables.services.get(service.index) {
        sum = std::array::from_fn(|i| entry.residue[i].load(order::PLAIN));
    }
    for index in &service.members {
        add(&mut sum, unsettled(tables, *index));
    }
    sum
}

/// What a destination has counted and its service has not taken over.
fn unsettled(tables: &Tables, index: u32) -> [u64; 5] {
    let counted = tables.counted(index);
    let Some(entry) = tables.destinations.get(index) else { return counted };
    std::array::from_fn(|i| counted[i].wrapping_sub(entry.settled[i].load(order::PLAIN)))
}

fn add(sum: &mut [u64; 5], more: [u64; 5]) {
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum = sum.wrapping_add(more);
    }
}

/// Counters since they were zeroed, and rates, as IPVS's statistics.
pub(crate) fn stats(counted: [u64; 5], zero: [u64; 5], rates: [u64; 5]) -> Stats {
    let since = |i: usize| counted[i].wrapping_sub(zero[i]);
    Stats {
        connections: since(0),
        in_packets: since(1),
        out_packets: since(2),
        in_bytes: since(3),
        out_bytes: since(4),
        connections_rate: rates[0],
        in_packets_rate: rates[1],
        out_packets_rate: rates[2],
        in_bytes_rate: rates[3],
        out_bytes_rate: rates[4],
    }
}

/// The first free index after the last one given out: one that was freed is left alone for as long as possible, since
/// a CPU may just be looking at it.
fn allocate(last: &mut u32, size: usize, is_free: impl Fn(u32) -> bool) -> Result<u32, Errno> {
    let size = size as u32;
    for i in 1..=size {
        let index = (*last + i) % size;
        if is_free(index) {
            *last = index;
            return Ok(index);
        }
    }
    Err(Errno::NOSPC)
}
