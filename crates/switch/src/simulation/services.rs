//! Services and destinations of a simulation: the part of a director that changes them.

use super::{CPUS, DIRECTOR_MAC, SERVER_SIDE, Simulation};
use crate::cell::AtomicU32;
use crate::counters::Counters;
use crate::destination::{Destination, Egress, Hop, Tunnel, flag, method, tunnel};
use crate::mark::{LISTS as MARK_LISTS, RULES_MAX, Rule};
use crate::order;
use crate::scheduler::Scheduler;
use crate::scheduler::hash::{Entrant, TablePart};
use crate::scheduler::{locality, ranking};
use crate::service::{
    CURSOR_START, ENGINE_SIP, LISTS, MemberList, Service, ServiceKey, flag as service_flag,
};
use core::sync::atomic::Ordering::SeqCst;
use rlvs_packet::protocol::UDP;
use std::net::{IpAddr, SocketAddr};

/// A real server, as a destination names it.
#[derive(Clone, Debug)]
pub struct Server {
    /// Address and port.
    pub address: SocketAddr,
    /// [`method`].
    pub method: u32,
    /// Weight.
    pub weight: u32,
    /// What the route to it carries.
    pub mtu: u32,
    /// The way to it.
    pub hop: Hop,
    /// The director's address towards it.
    pub source: IpAddr,
    /// The tunnel, if that is the method.
    pub tunnel: Tunnel,
}

/// GUE's port, as IANA has it: [`super::decode`] knows GUE by it.
pub const GUE_PORT: u16 = 6080;

impl Server {
    /// One of weight 1, on the servers' side, with a MAC that ends in the last octet of its address.
    pub fn new(method: u32, address: SocketAddr) -> Server {
        let (last, source) = match address.ip() {
            IpAddr::V4(ip) => (ip.octets()[3], IpAddr::from([10, 2, 0, 254])),
            IpAddr::V6(ip) => (ip.octets()[15], IpAddr::from([0xfd02, 0, 0, 0, 0, 0, 0, 0xfe])),
        };
        let hop = Hop::new(SERVER_SIDE, [2, 0, 0, 0, 1, last], DIRECTOR_MAC, 0);
        Server { address, method, weight: 1, mtu: 1500, hop, source, tunnel: Tunnel(tunnel::IPIP) }
    }

    /// One behind NAT.
    pub fn nat(address: SocketAddr) -> Server {
        Server::new(method::MASQUERADE, address)
    }

    /// One on the director's link.
    pub fn direct(address: SocketAddr) -> Server {
        Server::new(method::DIRECT_ROUTE, address)
    }

    /// One at the end of a tunnel.
    pub fn tunnel(address: SocketAddr) -> Server {
        Server::new(method::TUNNEL, address)
    }

    /// One at the end of a tunnel of this [`tunnel`] kind, with these flags.
    pub fn tunnel_of(kind: u32, flags: u32, address: SocketAddr) -> Server {
        let port = if kind == tunnel::GUE { GUE_PORT } else { 0 };
        Server { tunnel: Tunnel::new(kind, flags, port.to_be_bytes()), ..Server::tunnel(address) }
    }

    /// The same with another weight.
    pub fn weight(self, weight: u32) -> Server {
        Server { weight, ..self }
    }
}

impl Simulation {
    /// Adds a virtual service; its index.
    pub fn add_service(&mut self, protocol: u8, address: SocketAddr, scheduler: Scheduler) -> u32 {
        self.add(service_key(protocol, address), scheduler)
    }

    /// Adds the service of a mark for an IP version (4 or 6); its index.
    pub fn add_mark_service(&mut self, mark: u32, family: u8, scheduler: Scheduler) -> u32 {
        self.add(ServiceKey::of_mark(mark, family), scheduler)
    }

    fn add(&mut self, key: ServiceKey, scheduler: Scheduler) -> u32 {
        let index = self.services.len() as u32;
        let service = Service::default();
        service.scheduler.store(scheduler as u32, order::PLAIN);
        service.lists[0].scheduler.store(scheduler as u32, order::PLAIN);
        service.lists[0].table.store(self.hash_tables.len() as u32, order::PLAIN);
        self.hash_tables.extend(std::iter::repeat_with(TablePart::default).take(scheduler.parts()));
        if matches!(scheduler, Scheduler::LocalityBased | Scheduler::LocalityBasedReplicated) {
            self.localities.resize_with(locality::BUCKETS, Default::default);
        }
        service.sequence.store(index + 1, order::PLAIN);
        service.lists[0].cursor.store(CURSOR_START, order::PLAIN);
        let words: [u32; 6] = zerocopy::transmute!(key);
        for (cell, word) in service.key.iter().zip(words) {
            cell.store(word, order::PLAIN);
        }
        self.services.push(service);
        self.service_index.insert(key, index);
        self.set_look_ups();
        index
    }

    /// Makes these the mark rules.
    pub fn set_mark_rules(&mut self, rules: &[Rule]) {
        let marks = &self.config.marks;
        let next = (marks.current() + 1) % MARK_LISTS;
        let places = (next * RULES_MAX) as usize..;
        for (place, rule) in places.zip(rules) {
            self.mark_rules[place].store(rule);
        }
        marks.publish(next, rules.len() as u32);
        self.set_look_ups();
    }

    fn set_look_ups(&self) {
        let marks = &self.config.marks;
        self.config.set_look_ups(self.service_index.keys().copied(), marks.length(marks.current()) > 0);
    }

    /// Makes a service persistent: its timeout in seconds, and a mask or prefix length as [`Service::netmask`] holds it.
    pub fn make_persistent(&mut self, service: u32, timeout: u32, netmask: u32) {
        let service = &self.services[service as usize];
        service.flags.store(service_flag::PERSISTENT, order::PLAIN);
        service.timeout.store(timeout, order::PLAIN);
        service.netmask.store(netmask, order::PLAIN);
    }

    /// Has a service tell calls apart (`--pe sip`), with the destinations that it has by now.
    pub fn tell_calls_apart(&mut self, service: u32) {
        self.services[service as usize].engine.store(ENGINE_SIP, order::PLAIN);
        for index in self.members_of(service) {
            let destination = &self.destinations[index as usize];
            if destination.method.load(order::PLAIN) == method::MASQUERADE {
                let family = destination.family.load(order::PLAIN) as u8;
                let port = destination.port.load(order::PLAIN) as u16;
                let key = ServiceKey::of_real_server(UDP, family, destination.address_words(), port);
                self.service_index.insert(key, index);
            }
        }
        self.set_look_ups();
    }

    /// Has each UDP packet to the service scheduled for itself.
    pub fn schedule_each_packet(&mut self, service: u32) {
        self.services[service as usize].flags.fetch_or(service_flag::ONE_PACKET, SeqCst);
    }

    /// Sets a service's flags, IPVS's bits.
    pub fn set_flags(&mut self, service: u32, flags: u32) {
        self.services[service as usize].flags.store(flags, order::PLAIN);
    }

    /// Removes a virtual service: its connections lose their destinations, as after `ipvsadm -D`.
    pub fn remove_service(&mut self, protocol: u8, address: SocketAddr) {
        let Some(index) = self.service_index.remove(&service_key(protocol, address)) else { return };
        self.set_look_ups();
        for destination in self.members_of(index) {
            self.destinations[destination as usize].flags.store(0, order::PLAIN);
        }
    }

    /// Adds a destination to a service; its index.
    pub fn add_destination(&mut self, service: u32, server: &Server) -> u32 {
        let index = self.new_destination(service, server);
        self.restore_destination(service, index);
        index
    }

    /// Adds many destinations at once, the last one of them the newest.
    pub fn add_destinations(&mut self, service: u32, servers: impl IntoIterator<Item = Server>) {
        let mut members = self.members_of(service);
        for server in servers {
            members.insert(0, self.new_destination(service, &server));
        }
        self.publish(service, &members, CURSOR_START);
    }

    fn new_destination(&mut self, service: u32, server: &Server) -> u32 {
        let index = self.destinations.len() as u32;
        let destination = Destination::default();
        destination.flags.store(flag::AVAILABLE, order::PLAIN);
        destination.method.store(server.method, order::PLAIN);
        destination.weight.store(server.weight, order::PLAIN);
        destination.last_weight.store(server.weight, order::PLAIN);
        destination.family.store(if server.address.is_ipv6() { 6 } else { 4 }, order::PLAIN);
        destination.port.store(u16::from_ne_bytes(server.address.port().to_be_bytes()) as u32, order::PLAIN);
        store_address(&destination.address, server.address.ip());
        destination.tunnel.store(server.tunnel.0, order::PLAIN);
        for (cell, word) in destination.owner.iter().zip(&self.services[service as usize].key) {
            cell.store(word.load(order::PLAIN), order::PLAIN);
        }
        let egress: &Egress = &destination.egress[0];
        egress.store_hop(&server.hop);
        egress.mtu.store(server.mtu, order::PLAIN);
        store_address(&destination.sources[0], server.source);
        self.destinations.push(destination);
        for counters in &mut self.counters {
            counters.push(Counters::default());
        }
        debug_assert_eq!(self.counters.len(), CPUS);
        index
    }

    /// Makes a removed destination part of the service again, with the connections that it still has, as IPVS does.
    pub fn restore_destination(&mut self, service: u32, destination: u32) {
        self.destinations[destination as usize].flags.store(flag::AVAILABLE, order::PLAIN);
        let mut members = self.members_of(service);
        members.insert(0, destination);
        let cursor = self.position(service);
        let moved = if cursor == CURSOR_START { CURSOR_START } else { cursor + 1 };
        self.publish(service, &members, moved);
    }

    /// Removes a destination from its service. Its connections stay in the table.
    pub fn remove_destination(&mut self, service: u32, destination: u32) {
        self.destinations[destination as usize].flags.store(0, order::PLAIN);
        let mut members = self.members_of(service);
        let Some(place) = members.iter().position(|member| *member == destination) else { return };
        members.remove(place);
        let cursor = self.position(service);
        // The cursor of a removed member moves to the one before it.
        let moved =
            if cursor != CURSOR_START && cursor as usize >= place { cursor.wrapping_sub(1) } else { cursor };
        self.publish(service, &members, moved);
    }

    /// Changes a destination's weight.
    pub fn set_weight(&mut self, service: u32, destination: u32, weight: u32) {
        let changed = &self.destinations[destination as usize];
        changed.weight.store(weight, order::PLAIN);
        if weight != 0 {
            changed.last_weight.store(weight, order::PLAIN);
        }
        let members = self.members_of(service);
        self.publish(service, &members, self.position(service));
    }

    /// A destination's fields, for changes that no other method has.
    pub fn destination_mut(&mut self, destination: u32) -> &mut Destination {
        ranking::renew(self, &self.destinations[destination as usize]);
        &mut self.destinations[destination as usize]
    }

    /// The service's destinations, the newest first.
    pub fn members_of(&self, service: u32) -> Vec<u32> {
        let list = self.present_list(service);
        self.members[list.first.load(order::PLAIN) as usize..list.end.load(order::PLAIN) as usize].to_vec()
    }

    /// How many members stand before the one chosen last; [`CURSOR_START`] before the first choice.
    fn position(&self, service: u32) -> u32 {
        let list = self.present_list(service);
        match list.cursor.load(order::PLAIN) {
            CURSOR_START => CURSOR_START,
            place => place.wrapping_sub(list.first.load(order::PLAIN)),
        }
    }

    pub(super) fn present_list(&self, service: u32) -> &MemberList {
        let service = &self.services[service as usize];
        &service.lists[service.current.load(order::PLAIN) as usize & (LISTS - 1)]
    }

    /// Makes these the service's destinations, with the scheduler's state as IPVS would keep it; `position` is that of the last choice.
    fn publish(&mut self, service: u32, members: &[u32], position: u32) {
        let space = members.len().next_power_of_two().max(ranking::WIDTH as usize);
        self.members.resize(self.members.len() + space - members.len(), u32::MAX);
        let first = self.members.len() as u32;
        self.members.extend_from_slice(members);
        self.ranks.resize_with(self.members.len() / ranking::PLACES_PER_NODE as usize, Default::default);
        let before = self.present_list(service);
        let (threshold, table) = (before.threshold.load(order::PLAIN), before.table.load(order::PLAIN));
        self.write_table(before, table, members);
        let weights = members.iter().map(|i| self.destinations[*i as usize].weight.load(order::PLAIN));
        let (divisor, highest) =
            weights.filter(|w| *w > 0).fold((0, 0), |(d, h), w| (greatest_common_divisor(d, w), w.max(h)));
        let step = divisor.max(1);
        let maximum = (highest + 1).saturating_sub(step).min(highest);

        let service = &self.services[service as usize];
        let next = service.current.load(order::PLAIN).wrapping_add(1);
        let list = &service.lists[next as usize & (LISTS - 1)];
        list.scheduler.store(service.scheduler.load(order::PLAIN), order::PLAIN);
        list.table.store(table, order::PLAIN);
        list.first.store(first, order::PLAIN);
        list.end.store(first + members.len() as u32, order::PLAIN);
        list.space.store(space as u32, order::PLAIN);
        ranking::build(self, list, members);
        list.step.store(step, order::PLAIN);
        list.maximum.store(maximum, order::PLAIN);
        if service.scheduler.load(order::PLAIN) == Scheduler::WeightedRoundRobin as u32 {
            let threshold = match threshold {
                0 => maximum,
                t if t > maximum => maximum,
                t if step > 1 => t / step * step + 1,
                t => t,
            };
            list.threshold.store(threshold, order::PLAIN);
            list.cursor.store(CURSOR_START, order::PLAIN);
        } else {
            let cursor = if position == CURSOR_START { position } else { first.wrapping_add(position) };
            list.cursor.store(cursor, order::PLAIN);
        }
        service.current.store(next, order::PUBLISH);
    }

    fn write_table(&self, list: &MemberList, table: u32, members: &[u32]) {
        let Some(scheduler) = Scheduler::from_number(list.scheduler.load(order::PLAIN)) else { return };
        let entrants: Vec<Entrant> = members
            .iter()
            .map(|index| {
                let destination = &self.destinations[*index as usize];
                Entrant::new(*index, destination, destination.family.load(order::PLAIN) as u8)
            })
            .collect();
        scheduler.write_table(&entrants, &self.hash_tables[table as usize..][..scheduler.parts()]);
    }
}

fn service_key(protocol: u8, address: SocketAddr) -> ServiceKey {
    ServiceKey {
        address: words(address.ip()),
        reserved: 0,
        port: u16::from_ne_bytes(address.port().to_be_bytes()),
        protocol,
        family: if address.is_ipv6() { 6 } else { 4 },
    }
}

fn store_address(cells: &[AtomicU32; 4], address: IpAddr) {
    for (cell, word) in cells.iter().zip(words(address)) {
        cell.store(word, order::PLAIN);
    }
}

fn words(address: IpAddr) -> [u32; 4] {
    match address {
        IpAddr::V4(ip) => [u32::from_ne_bytes(ip.octets()), 0, 0, 0],
        IpAddr::V6(ip) => {
            let o = ip.octets();
            core::array::from_fn(|i| u32::from_ne_bytes([o[4 * i], o[4 * i + 1], o[4 * i + 2], o[4 * i + 3]]))
        }
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if a == 0 { b } else { greatest_common_divisor(b % a, a) }
}
