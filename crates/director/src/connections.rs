//! The connection table, listed.

use crate::registry::keys;
use crate::tables::Tables;
use rlvs_ipvs::{Connection, Endpoint, Protocol};
use rlvs_switch::Memory;
use rlvs_switch::config::Tick;
use rlvs_switch::destination::{Destination, method};
use rlvs_switch::order;
use rlvs_switch::sip::CallKey;
use rlvs_switch::table::slot::HIDDEN;
use rlvs_switch::table::{
    CALL, Entry, Family, Meta, Slot, TEMPLATE, Tuple, V4, V6, WAYS, mark_address, slot,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// All connections, as they are found: the table may change while it is listed.
pub fn list(tables: Arc<Tables>) -> impl Iterator<Item = Connection> + Send {
    let slots4 = (tables.connections4.all().len() * WAYS) as u32;
    let slots6 = (tables.connections6.all().len() * WAYS) as u32;
    let also = Arc::clone(&tables);
    (0..slots4)
        .filter_map(move |index| connection::<V4>(&tables, index))
        .chain((0..slots6).filter_map(move |index| connection::<V6>(&also, index)))
}

/// The connection in the slot of this index.
pub(crate) fn connection<F: Address>(tables: &Tables, index: u32) -> Option<Connection> {
    let place = slot::<Tables, F>(tables, index)?;
    let meta = place.meta();
    if !meta.is_live() || meta.is_reply() {
        return None;
    }
    let tuple: Tuple<F> = place.tuple(meta)?;
    let entry = place.entry(meta)?;
    let left = tables.now().until(last_expiry(tables, place, index, entry.peer));
    if left <= 0 && !place.is_in_control(meta) {
        return None;
    }
    let destination = tables.destinations.get(entry.destination);
    let server = match destination {
        Some(destination) => address_of(destination),
        None if u32::from(entry.method) == method::BYPASS => F::ip(F::address([0; 4])),
        // Another director told of it, and it waits for its destination.
        None => F::ip(entry.address),
    };
    let (is_template, is_call) = (meta.is_template(), tuple.protocol == CALL);
    let shown = match is_template {
        true if is_call => tuple_of_call(&tuple, &entry, destination?),
        true => Tuple { protocol: tuple.protocol ^ TEMPLATE, ..tuple },
        false => tuple,
    };
    Some(Connection {
        protocol: Protocol(shown.protocol.into()),
        state: meta.state(),
        flags: u32::from(entry.method) | if is_template { Connection::TEMPLATE } else { 0 },
        expires: Tick::to_seconds(left.max(0) as u32),
        client: endpoint(F::ip(shown.source), shown.ports[0]),
        virtual_server: endpoint(F::ip(shown.destination), shown.ports[1]),
        destination: endpoint(server, entry.port),
        call_id: if is_call { call_id::<F>(tables, index, meta) } else { None },
    })
}

/// The tuple of a call's template as IPVS has it: the service's address, or mark, and port in the place of the hash.
fn tuple_of_call<F: Address>(tuple: &Tuple<F>, entry: &Entry<F>, destination: &Destination) -> Tuple<F> {
    let owner = keys::load(&destination.owner);
    let (words, port) = match owner.mark() {
        Some(mark) => (mark_address::<F>(mark), [0; 2]),
        None => (owner.address, owner.port.to_ne_bytes()),
    };
    // Known to clients no longer: IPVS takes both ports away.
    let port = if tuple.ports[1] == HIDDEN && entry.port == HIDDEN { HIDDEN } else { port };
    let destination = F::address(words);
    Tuple { destination, ports: [[0; 2], port], protocol: owner.protocol, ..*tuple }
}

fn call_id<F: Family>(tables: &Tables, index: u32, meta: Meta) -> Option<String> {
    let key: [u8; size_of::<CallKey>()] =
        zerocopy::transmute!(CallKey::new(index, meta.version(), F::NUMBER));
    let record = tables.calls.get(&key, 0).ok()?;
    let (length, octets) = record.split_first_chunk::<4>()?;
    let octets = octets.get(4..)?.get(..u32::from_ne_bytes(*length) as usize)?;
    Some(String::from_utf8_lossy(octets).into_owned())
}

/// The later one of an entry's and its peer's.
pub(crate) fn last_expiry<M: Memory, F: Family>(memory: &M, place: &Slot<F>, index: u32, peer: u32) -> Tick {
    let own = place.expires();
    match slot::<M, F>(memory, peer) {
        Some(other) if peer != index && own.until(other.expires()) > 0 => other.expires(),
        _ => own,
    }
}

fn endpoint(address: IpAddr, port: [u8; 2]) -> Endpoint {
    Endpoint { address, port: u16::from_be_bytes(port) }
}

/// A destination's address.
pub(crate) fn address_of(destination: &Destination) -> IpAddr {
    let words = std::array::from_fn(|i| destination.address[i].load(order::PLAIN));
    if destination.family.load(order::PLAIN) == 6 { V6::ip(V6::address(words)) } else { V4::ip(words[0]) }
}

/// A family whose addresses have a form for people.
pub(crate) trait Address: Family {
    /// An address in this form.
    fn ip(address: Self::Address) -> IpAddr;
}

impl Address for V4 {
    fn ip(address: u32) -> IpAddr {
        Ipv4Addr::from(address.to_ne_bytes()).into()
    }
}

impl Address for V6 {
    fn ip([a, b]: [u64; 2]) -> IpAddr {
        let mut octets = [0; 16];
        octets[..8].copy_from_slice(&a.to_ne_bytes());
        octets[8..].copy_from_slice(&b.to_ne_bytes());
        Ipv6Addr::from(octets).into()
    }
}
