//! The ways to destinations: an address's is told once, and holds for all destinations that have it.

use super::{Registry, keys};
use crate::egress::Path;
use rlvs_switch::destination::{Destination as Entry, Egress, Hop};
use rlvs_switch::order;
use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::net::IpAddr;

/// The addresses of destinations.
#[derive(Default)]
pub(super) struct Ways {
    known: HashMap<IpAddr, Way>,
    changes: Vec<Watch>,
}

/// A destination's address whose way is to be followed, or no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// From now on.
    Begin(IpAddr),
    /// No longer.
    End(IpAddr),
}

#[derive(Default)]
struct Way {
    /// What was told last.
    path: Option<Path>,
    /// Indices of the destinations that have the address.
    destinations: Vec<u32>,
}

impl Registry {
    /// Addresses to watch, or to watch no longer, since the last call.
    pub fn take_changes(&mut self) -> Vec<Watch> {
        std::mem::take(&mut self.ways.changes)
    }

    /// Sets the way to all destinations with this address.
    pub fn set_path(&mut self, address: IpAddr, path: &Path) {
        let Some(way) = self.ways.known.get_mut(&address) else { return };
        if way.path.as_ref() == Some(path) {
            return;
        }
        way.path = Some(path.clone());
        for index in &way.destinations {
            if let Some(entry) = self.tables.destinations.get(*index) {
                set_egress(entry, path);
            }
        }
    }

    /// The destination of this index, which has this address, is in use from now on.
    pub(super) fn begin_way(&mut self, index: u32, address: IpAddr) {
        let way = match self.ways.known.entry(address) {
            Occupied(way) => way.into_mut(),
            Vacant(place) => {
                self.ways.changes.push(Watch::Begin(address));
                place.insert(Way::default())
            }
        };
        way.destinations.push(index);
        if let (Some(path), Some(entry)) = (&way.path, self.tables.destinations.get(index)) {
            set_egress(entry, path);
        }
    }

    /// It is not in use any more.
    pub(super) fn end_way(&mut self, index: u32, address: IpAddr) {
        let Occupied(mut way) = self.ways.known.entry(address) else { return };
        way.get_mut().destinations.retain(|other| *other != index);
        if way.get().destinations.is_empty() {
            way.remove();
            self.ways.changes.push(Watch::End(address));
        }
    }
}

/// Publishes another way: prepared in the copy that is not valid, then switched to.
fn set_egress(entry: &Entry, path: &Path) {
    let next = (entry.current.load(order::PLAIN) + 1) & 1;
    let egress = &entry.egress[next as usize];
    match path {
        Path::Via(via) => {
            let vlan = via.vlan.unwrap_or(0);
            egress.store_hop(&Hop::new(via.interface, via.destination_mac, via.source_mac, vlan));
            egress.mtu.store(via.mtu, order::PLAIN);
            for (cell, word) in entry.sources[next as usize].iter().zip(keys::words(via.source)) {
                cell.store(word, order::PLAIN);
            }
        }
        Path::Local => {
            egress.store_hop(&Hop::UNKNOWN);
            egress.interface.store(Egress::HERE, order::PLAIN);
        }
        _ => egress.store_hop(&Hop::UNKNOWN),
    }
    entry.current.store(next, order::PUBLISH);
}
