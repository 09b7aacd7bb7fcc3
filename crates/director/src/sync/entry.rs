//! Connections of the table as those that messages tell of, and the other way round.

use crate::connections::{Address, connection};
use crate::registry::{Registry, keys};
use crate::tables::Tables;
use rlvs_ipvs::sync::{Engine, SyncedConnection, flag};
use rlvs_ipvs::{Connection, Endpoint, Family as IpFamily};
use rlvs_packet::protocol::TCP;
use rlvs_switch::config::{Config, Tick};
use rlvs_switch::destination::method;
use rlvs_switch::state::{self, tcp};
use rlvs_switch::sync::{Import, import};
use rlvs_switch::table::{TEMPLATE, V4, V6, mark_address, slot};
use std::net::{IpAddr, Ipv6Addr};

/// Seconds that a template lasts whose timeout was not told.
const TEMPLATE_TIMEOUT: u32 = 180;

/// No destination.
const UNKNOWN: u32 = u32::MAX;

/// The connection in the slot of this index, as others are told of it; `None` if there is none, or none that they could use.
pub(super) fn export<F: Address>(tables: &Tables, index: u32) -> Option<SyncedConnection> {
    let place = slot::<Tables, F>(tables, index)?;
    let meta = place.meta();
    let entry = place.entry(meta)?;
    let Connection { protocol, state, flags, client, virtual_server, destination, call_id, .. } =
        connection::<F>(tables, index)?;
    let protocol = u8::try_from(protocol.0).ok()?;
    let is_template = flags & Connection::TEMPLATE != 0;
    // A tunnel's other end may be of another family, which messages have no words for.
    if IpFamily::of(destination.address) != IpFamily::of(client.address) {
        return None;
    }
    let known = tables.destinations.get(entry.destination)?;
    // It is about to end, and nobody is to go on with it.
    if known.ends() && !(protocol == TCP && state == tcp::CLOSE) {
        return None;
    }
    let owner = keys::load(&known.owner);
    let timeout = match is_template {
        true => place.timeout(),
        false => state::expiry(tables.settings(), protocol, state, Tick(0)).0,
    };
    let mut more = 0;
    if u32::from(entry.method) != method::MASQUERADE {
        more |= flag::NO_OUTPUT;
    }
    if is_template || !state::is_active(protocol, state) {
        more |= flag::INACTIVE;
    }
    let virtual_server = match virtual_server.address {
        IpAddr::V6(address) if is_template && protocol == 0 => {
            let [.., high, low] = address.segments();
            let address = Ipv6Addr::new(high, low, 0, 0, 0, 0, 0, 0).into();
            Endpoint { address, ..virtual_server }
        }
        _ => virtual_server,
    };
    Some(SyncedConnection {
        protocol,
        flags: flags | more,
        state: state.into(),
        client,
        virtual_server,
        destination,
        mark: owner.mark().unwrap_or(0),
        timeout: Tick::to_seconds(timeout),
        sequence: None,
        engine: call_id.map(|call| Engine { name: "sip".into(), data: call.into() }),
    })
}

/// What the switch is to do about a connection; with the IP version. `None` if this director has no use for it: it is of a call,
/// its client's port is not known yet, or its addresses are of two families.
pub(super) fn import(registry: &Registry, config: &Config, told: &SyncedConnection) -> Option<(u8, Import)> {
    let family = keys::family(told.client.address);
    let is_template = told.is_template();
    let ends = [&told.client, &told.virtual_server, &told.destination];
    if told.engine.is_some()
        || (!is_template && told.flags & flag::NO_CLIENT_PORT != 0)
        || ends.iter().any(|end| keys::family(end.address) != family)
    {
        return None;
    }
    let port = |end: &Endpoint| end.port.to_be_bytes();
    let of_mark = is_template && told.protocol == 0;
    let (destination, known_method) = registry.destination_of(told, mark_of(told)).unzip();
    let seconds = match told.timeout {
        0 if is_template => TEMPLATE_TIMEOUT,
        0 => Tick::to_seconds(state::expiry(config, told.protocol, told.state as u8, Tick(0)).0),
        seconds => seconds,
    };
    let mut flags = if is_template { import::TEMPLATE } else { 0 };
    if told.flags & flag::INACTIVE != 0 {
        flags |= import::INACTIVE;
    }
    let connection = Import {
        client: keys::words(told.client.address),
        virtual_address: match family {
            _ if !of_mark => keys::words(told.virtual_server.address),
            6 => mark_address::<V6>(mark_of(told)),
            _ => mark_address::<V4>(mark_of(told)),
        },
        server: keys::words(told.destination.address),
        ports: [port(&told.client), port(&told.virtual_server)],
        server_port: port(&told.destination),
        protocol: if is_template { told.protocol ^ TEMPLATE } else { told.protocol },
        method: known_method.unwrap_or(told.flags & flag::METHOD) as u8,
        destination: destination.unwrap_or(UNKNOWN),
        state: if is_template { u32::from(told.state & 1) } else { told.state.into() },
        timeout: Tick::in_seconds(seconds),
        flags,
        slot: 0,
    };
    Some((family, connection))
}

/// The mark of the service that it belongs to; 0: none. Of a template of version 0 only the virtual address has it.
fn mark_of(told: &SyncedConnection) -> u32 {
    if told.mark != 0 || !told.is_template() || told.protocol != 0 {
        return told.mark;
    }
    u32::from_be(keys::words(told.virtual_server.address)[0])
}

/// Those of the table that have no destination and wait for one: what the switch is to do now that there is one.
pub(super) fn bind<F: Address>(registry: &Registry, tables: &Tables, index: u32) -> Option<Import> {
    let place = slot::<Tables, F>(tables, index)?;
    let meta = place.meta();
    if !meta.is_live() || meta.is_reply() || meta.is_template() {
        return None;
    }
    let (tuple, entry) = (place.tuple(meta)?, place.entry(meta)?);
    if tables.destinations.get(entry.destination).is_some() || u32::from(entry.method) == method::BYPASS {
        return None;
    }
    let end = |address, port| Endpoint { address: F::ip(address), port: u16::from_be_bytes(port) };
    let told = SyncedConnection {
        protocol: tuple.protocol,
        flags: entry.method.into(),
        state: meta.state().into(),
        client: end(tuple.source, tuple.ports[0]),
        virtual_server: end(tuple.destination, tuple.ports[1]),
        destination: end(entry.address, entry.port),
        mark: 0,
        timeout: 0,
        sequence: None,
        engine: None,
    };
    let (_, connection) = import(registry, tables.settings(), &told)?;
    let left = tables.now().until(place.expires()).max(0) as u32;
    (connection.destination != UNKNOWN).then_some(Import { timeout: left, ..connection })
}
