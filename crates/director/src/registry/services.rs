//! Virtual services.

use super::hash_tables::HashTable;
use super::rooms::Room;
use super::{Registry, Service, keys, service_counted, stats};
use crate::estimator::Estimator;
use rlvs_ipvs::{Errno, Netmask, Protocol, ServiceEntry, ServiceFlags, ServiceId};
use rlvs_switch::order;
use rlvs_switch::scheduler::Scheduler;
use rlvs_switch::service::{ENGINE_SIP, LISTS, SCHEDULER_NAME};
use std::net::Ipv4Addr;

/// The one persistence engine that there is.
const SIP: &str = "sip";

impl Registry {
    pub(super) fn add_service(&mut self, asked: &rlvs_ipvs::Service) -> Result<(), Errno> {
        if self.by_id.contains_key(&asked.id) {
            return Err(Errno::EXIST);
        }
        let scheduler = check(asked)?;
        let key = keys::key(&asked.id).ok_or(Errno::NOPROTOOPT)?;
        let services = &self.tables.services;
        let is_free = |index| services.get(index).is_some_and(|entry| entry.sequence.load(order::PLAIN) == 0);
        let index = super::allocate(&mut self.last_service, services.all().len(), is_free)?;
        let table = self.hash_tables.take(scheduler)?;
        let room = match self.rooms.take(0) {
            Ok(room) => room,
            Err(error) => {
                self.hash_tables.give_back(&table);
                return Err(error);
            }
        };
        let sequence = self.next_sequence();
        let entry = self.tables.services.get(index).ok_or(Errno::NOSPC)?;
        keys::store(&entry.key, &key);
        let flags = asked.flags.apply(ServiceFlags::empty()).bits();
        write(entry, asked, scheduler, flags);
        for cell in entry.residue.iter().chain(&entry.zero) {
            cell.store(0, order::PLAIN);
        }
        for list in &entry.lists {
            list.first.store(0, order::PLAIN);
            list.end.store(0, order::PLAIN);
            list.threshold.store(0, order::PLAIN);
        }
        entry.sequence.store(sequence, order::PUBLISH);
        self.services.insert(
            sequence,
            Service {
                index,
                id: asked.id,
                members: Vec::new(),
                table,
                room,
                retired: Default::default(),
                rates: Estimator::default(),
            },
        );
        self.by_id.insert(asked.id, sequence);
        self.publish(sequence, &[]);
        if self.index.insert(keys::octets(&key), index, 0).is_err() {
            self.forget_service(sequence);
            return Err(Errno::NOSPC);
        }
        self.set_look_ups_for(&key);
        Ok(())
    }

    pub(super) fn edit_service(&mut self, asked: &rlvs_ipvs::Service) -> Result<(), Errno> {
        let sequence = *self.by_id.get(&asked.id).ok_or(Errno::SRCH)?;
        let scheduler = check(asked)?;
        let service = self.services.get_mut(&sequence).ok_or(Errno::SRCH)?;
        let entry = self.tables.services.get(service.index).ok_or(Errno::SRCH)?;
        let flags = asked.flags.apply(ServiceFlags::from_bits_retain(entry.flags.load(order::PLAIN)));
        let changed = entry.scheduler.load(order::PLAIN) != scheduler as u32;
        if !changed {
            write(entry, asked, scheduler, flags.bits());
            self.set_callers_of(sequence);
            return Ok(());
        }
        // A scheduler's state does not survive it.
        let table = self.hash_tables.take(scheduler)?;
        let before = std::mem::replace(&mut service.table, table);
        write(entry, asked, scheduler, flags.bits());
        self.publish(sequence, &[]);
        self.forget_addresses_of(sequence);
        self.hash_tables.give_back(&before);
        self.set_callers_of(sequence);
        Ok(())
    }

    pub(super) fn delete_service(&mut self, id: &ServiceId) -> Result<(), Errno> {
        let sequence = *self.by_id.get(id).ok_or(Errno::SRCH)?;
        // First of all, no packet finds it any more.
        if let Some(key) = keys::key(id) {
            let _not_there = self.index.remove(&keys::octets(&key));
        }
        let members = self.services.get(&sequence).map(|service| service.members.clone());
        for member in members.unwrap_or_default() {
            self.retire(sequence, member, 0);
        }
        self.forget_service(sequence);
        self.set_callers_of(sequence);
        if let Some(key) = keys::key(id) {
            self.set_look_ups_for(&key);
        }
        Ok(())
    }

    fn forget_service(&mut self, sequence: u32) {
        let Some(service) = self.services.remove(&sequence) else { return };
        self.by_id.remove(&service.id);
        self.hash_tables.give_back(&service.table);
        self.rooms.give_back(&service.room);
        if let Some(entry) = self.tables.services.get(service.index) {
            entry.sequence.store(0, order::PUBLISH);
        }
    }

    pub(super) fn flush(&mut self) {
        let ids: Vec<ServiceId> = self.services.values().map(|service| service.id).collect();
        for id in ids {
            let _there = self.delete_service(&id);
        }
    }

    pub(super) fn zero(&mut self, id: Option<&ServiceId>) -> Result<(), Errno> {
        let sequences: Vec<u32> = match id {
            Some(id) => vec![*self.by_id.get(id).ok_or(Errno::SRCH)?],
            None => self.services.keys().copied().collect(),
        };
        for sequence in sequences {
            let Some(service) = self.services.get_mut(&sequence) else { continue };
            let counted = service_counted(&self.tables, service);
            service.rates = Estimator::starting_at(counted);
            if let Some(entry) = self.tables.services.get(service.index) {
                for (cell, counted) in entry.zero.iter().zip(counted) {
                    cell.store(counted, order::PLAIN);
                }
            }
            for member in &service.members {
                let counted = self.tables.counted(*member);
                if let Some(destination) = self.destinations.get_mut(member) {
                    destination.rates = Estimator::starting_at(counted);
                }
                if let Some(entry) = self.tables.destinations.get(*member) {
                    for (cell, counted) in entry.zero.iter().zip(counted) {
                        cell.store(counted, order::PLAIN);
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn service_entry(&self, id: &ServiceId) -> Result<ServiceEntry, Errno> {
        let sequence = self.by_id.get(id).ok_or(Errno::SRCH)?;
        self.services.get(sequence).and_then(|service| self.describe(service)).ok_or(Errno::SRCH)
    }

    pub(super) fn service_entries(&self) -> Vec<ServiceEntry> {
        self.services.values().filter_map(|service| self.describe(service)).collect()
    }

    fn describe(&self, service: &Service) -> Option<ServiceEntry> {
        let entry = self.tables.services.get(service.index)?;
        let mut name = Vec::new();
        for word in &entry.scheduler_name {
            name.extend(word.load(order::PLAIN).to_ne_bytes());
        }
        let name = String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned();
        let flags = ServiceFlags::from_bits_retain(entry.flags.load(order::PLAIN)) | ServiceFlags::HASHED;
        let netmask = entry.netmask.load(order::PLAIN);
        let described = rlvs_ipvs::Service {
            id: service.id,
            scheduler: name,
            flags: rlvs_ipvs::FlagsChange::to(flags),
            timeout: entry.timeout.load(order::PLAIN),
            netmask: match service.id.family() {
                rlvs_ipvs::Family::Inet => Netmask::V4(Ipv4Addr::from(netmask.to_ne_bytes())),
                rlvs_ipvs::Family::Inet6 => Netmask::V6(netmask),
            },
            persistence_engine: (entry.engine.load(order::PLAIN) == ENGINE_SIP).then(|| SIP.into()),
        };
        let zero = std::array::from_fn(|i| entry.zero[i].load(order::PLAIN));
        let counted = service_counted(&self.tables, service);
        Some(ServiceEntry { service: described, stats: stats(counted, zero, service.rates.rates()) })
    }

    /// Reads services and destinations from the tables.
    pub(super) fn adopt(&mut self) {
        let tables = self.tables.clone();
        for (index, entry) in (0..).zip(tables.services.all()) {
            let sequence = entry.sequence.load(order::LOAD);
            if sequence == 0 {
                continue;
            }
            self.last_sequence = self.last_sequence.max(sequence);
            let key = keys::load(&entry.key);
            let id = keys::id(&key);
            let service = Service {
                index,
                id,
                members: Vec::new(),
                table: table_of(entry),
                room: Room::of(entry),
                retired: Default::default(),
                rates: Estimator::default(),
            };
            if !matches!(self.index.get(&keys::octets(&key), 0), Ok(found) if found == index) {
                // The director before was killed while it made or deleted this one: deleted it is.
                entry.sequence.store(0, order::PUBLISH);
                continue;
            }
            // Whoever held it may have been killed.
            entry.lists[entry.current.load(order::LOAD) as usize % LISTS].lock.store(0, order::PLAIN);
            self.hash_tables.mark(&service.table);
            self.rooms.mark(&service.room);
            self.by_id.insert(id, sequence);
            self.services.insert(sequence, service);
        }
        self.adopt_destinations();
        for service in self.services.values_mut() {
            let counted = service_counted(&tables, service);
            service.rates = Estimator::starting_at(counted);
        }
    }
}

/// The hash table that the service's valid list goes by.
fn table_of(entry: &rlvs_switch::service::Service) -> HashTable {
    let list = &entry.lists[entry.current.load(order::LOAD) as usize % LISTS];
    let start = list.table.load(order::PLAIN) as usize;
    let parts = Scheduler::from_number(list.scheduler.load(order::PLAIN)).map_or(0, Scheduler::parts);
    start..start + parts
}

/// What IPVS refuses, and what this director does not do yet.
fn check(asked: &rlvs_ipvs::Service) -> Result<Scheduler, Errno> {
    let scheduler = Scheduler::from_name(&asked.scheduler).ok_or(Errno::NOENT)?;
    if asked.persistence_engine.as_ref().is_some_and(|engine| engine != SIP) {
        return Err(Errno::NOENT);
    }
    if let Netmask::V6(prefix) = asked.netmask
        && !(1..=128).contains(&prefix)
    {
        return Err(Errno::INVAL);
    }
    if let ServiceId::Address { protocol, .. } = asked.id
        && ![Protocol::TCP, Protocol::UDP, Protocol::SCTP].contains(&protocol)
    {
        tracing::warn!("refused service {:?}: its protocol is none of TCP, UDP and SCTP", asked.id);
        return Err(Errno::NOPROTOOPT);
    }
    Ok(scheduler)
}

fn write(
    entry: &rlvs_switch::service::Service,
    asked: &rlvs_ipvs::Service,
    scheduler: Scheduler,
    flags: u32,
) {
    let mut name = [0; SCHEDULER_NAME];
    for (octet, of_name) in name.iter_mut().zip(asked.scheduler.bytes().take(SCHEDULER_NAME - 1)) {
        *octet = of_name;
    }
    for (cell, octets) in entry.scheduler_name.iter().zip(name.chunks_exact(4)) {
        cell.store(u32::from_ne_bytes([octets[0], octets[1], octets[2], octets[3]]), order::PLAIN);
    }
    entry.flags.store(flags, order::PLAIN);
    entry.timeout.store(asked.timeout, order::PLAIN);
    let netmask = match asked.netmask {
        Netmask::V4(mask) => u32::from_ne_bytes(mask.octets()),
        Netmask::V6(prefix) => prefix,
    };
    entry.netmask.store(netmask, order::PLAIN);
    let engine = if asked.persistence_engine.is_some() { ENGINE_SIP } else { 0 };
    entry.engine.store(engine, order::PLAIN);
    entry.scheduler.store(scheduler as u32, order::PLAIN);
}
