//! Destinations.

use super::{Destination, Registry, keys, stats, unsettled};
use crate::connections::address_of;
use crate::estimator::Estimator;
use rlvs_ipvs::{DestinationEntry, DestinationId, Errno, Family, ForwardingMethod, ServiceId};
use rlvs_ipvs::{Tunnel, TunnelFlags, TunnelType};
use rlvs_switch::destination::{Destination as Entry, Hop, Tunnel as TunnelWord, flag};
use rlvs_switch::order;
use rlvs_switch::scheduler::MEMBERS_MAX;
use rlvs_switch::service::ServiceKey;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long a deleted destination without connections is kept, for it may come back.
const TRASH: Duration = Duration::from_secs(120);

impl Registry {
    pub(super) fn add_destination(
        &mut self,
        service: &ServiceId,
        asked: Result<rlvs_ipvs::Destination, Errno>,
    ) -> Result<(), Errno> {
        let sequence = *self.by_id.get(service).ok_or(Errno::SRCH)?;
        let asked = asked?;
        self.check_family(service, &asked)?;
        check(&asked)?;
        if self.find(service, &asked.id).is_some() {
            return Err(Errno::EXIST);
        }
        if self.services.get(&sequence).is_some_and(|service| service.members.len() >= MEMBERS_MAX as usize) {
            tracing::warn!("refused destination {}: a service has at most {MEMBERS_MAX}", asked.id.address);
            return Err(Errno::NOSPC);
        }
        self.make_room(sequence)?;
        let owner = keys::key(service).ok_or(Errno::NOPROTOOPT)?;
        let index = match self.find_in_trash(owner, &asked.id) {
            Some(index) => self.revive(sequence, index),
            None => {
                check_unicast(asked.id.address)?;
                self.new_destination(&owner, &asked.id)?
            }
        };
        let newest = self.next_sequence();
        let Some(entry) = self.tables.destinations.get(index) else { return Err(Errno::NOSPC) };
        write(entry, &asked);
        entry.last_weight.store(asked.weight as u32, order::PLAIN);
        entry.flags.store(flag::AVAILABLE, order::PLAIN);
        entry.sequence.store(newest, order::PUBLISH);
        let rates = Estimator::starting_at(self.tables.counted(index));
        self.destinations.insert(index, Destination { id: asked.id, rates });
        self.by_name.insert((owner, asked.id), index);
        self.begin_way(index, asked.id.address);
        self.publish_newest(sequence, index);
        self.set_callers_of(sequence);
        Ok(())
    }

    /// Takes a destination out of the trash. Its connections go on, and its counters too, unless they were another
    /// service's of the same name.
    fn revive(&mut self, service: u32, index: u32) -> u32 {
        self.trash.remove(&index);
        if let Some(entry) = self.tables.destinations.get(index)
            && entry.sequence.load(order::PLAIN) < service
        {
            for (cell, counted) in entry.zero.iter().zip(self.tables.counted(index)) {
                cell.store(counted, order::PLAIN);
            }
        }
        index
    }

    /// Only a tunnel leads to a destination of another family than its service's, and only while nothing is synchronised.
    fn check_family(&self, service: &ServiceId, asked: &rlvs_ipvs::Destination) -> Result<(), Errno> {
        let same = Family::of(asked.id.address) == service.family();
        let tunnel = asked.method == ForwardingMethod::Tunnel;
        if same || tunnel && self.daemons().is_empty() { Ok(()) } else { Err(Errno::INVAL) }
    }

    /// The destinations of a service, the newest first.
    fn members_of(&self, sequence: u32) -> Vec<u32> {
        self.services.get(&sequence).map(|service| service.members.clone()).unwrap_or_default()
    }

    /// A fresh entry, not yet in use.
    fn new_destination(&mut self, owner: &ServiceKey, id: &DestinationId) -> Result<u32, Errno> {
        let destinations = &self.tables.destinations;
        let is_free =
            |index| destinations.get(index).is_some_and(|entry| entry.sequence.load(order::PLAIN) == 0);
        let index = super::allocate(&mut self.last_destination, destinations.all().len(), is_free)?;
        let entry = self.tables.destinations.get(index).ok_or(Errno::NOSPC)?;
        keys::store(&entry.owner, owner);
        for (cell, word) in entry.address.iter().zip(keys::words(id.address)) {
            cell.store(word, order::PLAIN);
        }
        entry.family.store(keys::family(id.address).into(), order::PLAIN);
        entry.port.store(id.port.to_be().into(), order::PLAIN);
        let incarnation = entry.incarnation.load(order::PLAIN).wrapping_add(1);
        entry.incarnation.store(incarnation, order::PLAIN);
        for cell in [&entry.active, &entry.inactive, &entry.persistent, &entry.overload] {
            cell.store(0, order::PLAIN);
        }
        for egress in &entry.egress {
            egress.store_hop(&Hop::UNKNOWN);
        }
        // The counters go on from where the last user of the entry left them.
        let counted = self.tables.counted(index);
        for (i, counted) in counted.into_iter().enumerate() {
            entry.zero[i].store(counted, order::PLAIN);
            entry.settled[i].store(counted, order::PLAIN);
        }
        Ok(index)
    }

    pub(super) fn edit_destination(
        &mut self,
        service: &ServiceId,
        asked: Result<rlvs_ipvs::Destination, Errno>,
    ) -> Result<(), Errno> {
        let sequence = *self.by_id.get(service).ok_or(Errno::SRCH)?;
        let asked = asked?;
        self.check_family(service, &asked)?;
        check(&asked)?;
        let index = self.find(service, &asked.id).ok_or(Errno::NOENT)?;
        let entry = self.tables.destinations.get(index).ok_or(Errno::NOENT)?;
        write(entry, &asked);
        self.publish_weights(sequence);
        self.set_callers_of(sequence);
        Ok(())
    }

    /// `flags`: [`flag`]s that say what becomes of its connections.
    pub(super) fn delete_destination(
        &mut self,
        service: &ServiceId,
        asked: Result<DestinationId, Errno>,
        flags: u32,
    ) -> Result<(), Errno> {
        let sequence = *self.by_id.get(service).ok_or(Errno::SRCH)?;
        let index = self.find(service, &asked?).ok_or(Errno::NOENT)?;
        let members = self.members_of(sequence);
        if let Some(service) = self.services.get_mut(&sequence) {
            service.members.retain(|member| *member != index);
        }
        self.publish(sequence, &members);
        self.set_callers_of(sequence);
        self.retire(sequence, index, flags);
        Ok(())
    }

    /// Puts a destination into the trash: its connections' packets are dropped, and it may come back; or, as the `flags` say, its
    /// connections end, and what comes back is another one.
    pub(super) fn retire(&mut self, sequence: u32, index: u32, flags: u32) {
        let counted = unsettled(&self.tables, index);
        let service = self.services.get(&sequence).and_then(|s| self.tables.services.get(s.index));
        if let (Some(service), Some(entry)) = (service, self.tables.destinations.get(index)) {
            entry.flags.store(flags, order::PLAIN);
            if entry.ends() {
                self.by_name.remove(&(keys::load(&entry.owner), identity(entry)));
            }
            for (i, counted) in counted.into_iter().enumerate() {
                let residue = service.residue[i].load(order::PLAIN);
                service.residue[i].store(residue.wrapping_add(counted), order::PLAIN);
                let settled = entry.settled[i].load(order::PLAIN);
                entry.settled[i].store(settled.wrapping_add(counted), order::PLAIN);
            }
        }
        if let Some(destination) = self.destinations.remove(&index) {
            self.end_way(index, destination.id.address);
        }
        self.trash.insert(index, Instant::now());
    }

    /// Frees what has been in the trash for long and is not named by any connection.
    pub(crate) fn empty_trash(&mut self) {
        let (tables, by_name) = (&self.tables, &mut self.by_name);
        self.trash.retain(|index, since| {
            let Some(entry) = tables.destinations.get(*index) else { return false };
            let named = [&entry.active, &entry.inactive, &entry.persistent];
            let used = named.into_iter().any(|number| number.load(order::PLAIN) != 0);
            if used || since.elapsed() < TRASH {
                return true;
            }
            if !entry.ends() {
                by_name.remove(&(keys::load(&entry.owner), identity(entry)));
            }
            entry.sequence.store(0, order::PUBLISH);
            false
        });
    }

    /// Deleted destinations whose connections end, and that have some.
    pub(crate) fn ending(&self) -> impl Iterator<Item = u32> {
        self.trash.keys().copied().filter(|index| {
            let entry = self.tables.destinations.get(*index).filter(|entry| entry.ends());
            let numbers = entry.map(|entry| [&entry.active, &entry.inactive]);
            numbers.is_some_and(|numbers| numbers.iter().any(|number| number.load(order::PLAIN) != 0))
        })
    }

    /// A service's destinations, the newest first.
    pub fn destination_entries(&self, service: &ServiceId) -> Result<Vec<DestinationEntry>, Errno> {
        let sequence = self.by_id.get(service).ok_or(Errno::SRCH)?;
        let members = self.services.get(sequence).map(|service| &service.members).ok_or(Errno::SRCH)?;
        Ok(members.iter().filter_map(|index| self.describe_destination(*index)).collect())
    }

    fn describe_destination(&self, index: u32) -> Option<DestinationEntry> {
        let entry = self.tables.destinations.get(index)?;
        let tunnel = entry.tunnel();
        let destination = rlvs_ipvs::Destination {
            id: identity(entry),
            method: ForwardingMethod::from_flags(entry.method.load(order::PLAIN))?,
            weight: entry.weight.load(order::PLAIN) as i32,
            upper_threshold: entry.upper.load(order::PLAIN),
            lower_threshold: entry.lower.load(order::PLAIN),
            tunnel: Tunnel {
                kind: TunnelType::from_number(tunnel.kind() as u8)?,
                port: u16::from_be_bytes(tunnel.port()),
                flags: TunnelFlags::from_bits_retain(tunnel.flags() as u16),
            },
        };
        let zero = std::array::from_fn(|i| entry.zero[i].load(order::PLAIN));
        let rates = self.destinations.get(&index).map(|d| d.rates.rates()).unwrap_or_default();
        Some(DestinationEntry {
            destination,
            active: entry.active.load(order::PLAIN),
            inactive: entry.inactive.load(order::PLAIN),
            persistent: entry.persistent.load(order::PLAIN),
            stats: stats(self.tables.counted(index), zero, rates),
        })
    }

    /// The service's destination with this identity.
    pub(super) fn find(&self, service: &ServiceId, id: &DestinationId) -> Option<u32> {
        let index = *self.by_name.get(&(keys::key(service)?, *id))?;
        self.destinations.contains_key(&index).then_some(index)
    }

    fn find_in_trash(&self, owner: ServiceKey, id: &DestinationId) -> Option<u32> {
        let index = *self.by_name.get(&(owner, *id))?;
        self.trash.contains_key(&index).then_some(index)
    }

    /// Reads the destinations from the tables: members of services, and those in the trash.
    pub(super) fn adopt_destinations(&mut self) {
        let tables = self.tables.clone();
        let mut found: Vec<(u32, u32)> = Vec::new();
        for (index, entry) in (0..).zip(tables.destinations.all()) {
            let sequence = entry.sequence.load(order::LOAD);
            if sequence != 0 {
                self.last_sequence = self.last_sequence.max(sequence);
                found.push((sequence, index));
            }
        }
        // The newest first, as in a service's list.
        found.sort_unstable_by(|a, b| b.cmp(a));
        for (_, index) in found {
            let Some(entry) = tables.destinations.get(index) else { continue };
            let (owner, id) = (keys::load(&entry.owner), identity(entry));
            if !entry.ends() {
                self.by_name.insert((owner, id), index);
            }
            let service = self.by_id.get(&keys::id(&owner)).copied();
            let service = service.and_then(|sequence| self.services.get_mut(&sequence));
            match service {
                Some(service) if entry.flags.load(order::PLAIN) & flag::AVAILABLE != 0 => {
                    service.members.push(index);
                    let rates = Estimator::starting_at(tables.counted(index));
                    self.destinations.insert(index, Destination { id, rates });
                    self.begin_way(index, id.address);
                }
                _ => {
                    entry.flags.fetch_and(!flag::AVAILABLE, order::PLAIN);
                    self.trash.insert(index, Instant::now());
                }
            }
        }
    }
}

fn identity(entry: &Entry) -> DestinationId {
    DestinationId { address: address_of(entry), port: u16::from_be(entry.port.load(order::PLAIN) as u16) }
}

/// What IPVS refuses, and what this director does not do yet.
fn check(asked: &rlvs_ipvs::Destination) -> Result<(), Errno> {
    if asked.weight < 0 || asked.lower_threshold > asked.upper_threshold {
        return Err(Errno::RANGE);
    }
    if asked.tunnel.kind == TunnelType::Gue && asked.tunnel.port == 0 {
        return Err(Errno::INVAL);
    }
    let unsupported = match asked.method {
        ForwardingMethod::Bypass => Some("bypass"),
        _ => None,
    };
    if let Some(what) = unsupported {
        tracing::warn!("refused destination {}, not supported yet: {what}", asked.id.address);
        return Err(Errno::NOPROTOOPT);
    }
    Ok(())
}

/// IPVS asks this of a new destination only, after all else.
fn check_unicast(address: IpAddr) -> Result<(), Errno> {
    let unicast = match address {
        IpAddr::V4(address) => {
            !(address.is_multicast() || address.is_broadcast() || address.is_unspecified())
        }
        IpAddr::V6(address) => {
            !(address.is_multicast() || address.is_unspecified() || address.is_unicast_link_local())
        }
    };
    if unicast { Ok(()) } else { Err(Errno::INVAL) }
}

fn write(entry: &Entry, asked: &rlvs_ipvs::Destination) {
    if asked.upper_threshold == 0 || asked.upper_threshold > entry.upper.load(order::PLAIN) {
        entry.overload.store(0, order::PLAIN);
    }
    entry.upper.store(asked.upper_threshold, order::PLAIN);
    entry.lower.store(asked.lower_threshold, order::PLAIN);
    let Tunnel { kind, flags, port } = asked.tunnel;
    let tunnel = TunnelWord::new(kind as u32, flags.bits().into(), port.to_be_bytes());
    entry.tunnel.store(tunnel.0, order::PLAIN);
    entry.method.store(asked.method as u32, order::PLAIN);
    // Weights are not negative: checked.
    entry.weight.store(asked.weight as u32, order::PLAIN);
    if asked.weight != 0 {
        entry.last_weight.store(asked.weight as u32, order::PLAIN);
    }
}
