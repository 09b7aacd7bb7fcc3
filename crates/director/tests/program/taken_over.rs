//! Connections that other directors tell of: from the message to the packet.

use crate::lab::*;
use anyhow::{Context, Result, ensure};
use rlvs_director::connections;
use rlvs_director::sync::Outcome;
use rlvs_ipvs::sync::{SyncedConnection, flag, read};
use rlvs_ipvs::{Connection, Endpoint, Protocol, Request};
use rlvs_packet::protocol::{TCP, UDP};
use rlvs_packet::tcp::ACK;
use rlvs_switch::destination::method::{DIRECT_ROUTE, MASQUERADE, TUNNEL};
use rlvs_switch::simulation::{Decoded, Packet, decode};
use std::net::SocketAddr;
use std::sync::Arc;

/// XDP_REDIRECT and XDP_DROP.
const REDIRECT: u32 = 4;
const DROP: u32 = 1;

const ESTABLISHED: u16 = 1;
const CLOSE: u16 = 6;

fn end(address: SocketAddr) -> Endpoint {
    Endpoint { address: address.ip(), port: address.port() }
}

fn told(net: Net, method: u32) -> SyncedConnection {
    SyncedConnection {
        protocol: TCP,
        flags: method,
        state: ESTABLISHED,
        client: end(net.client),
        virtual_server: end(net.vip),
        destination: end(net.server),
        mark: 0,
        timeout: 900,
        sequence: None,
        engine: None,
    }
}

impl Twins {
    fn take_over(&self, told: &SyncedConnection) -> Result<()> {
        let outcome = self.kernel.importer.take_over(&self.kernel.registry, told)?;
        ensure!(outcome == Outcome::Taken, "{outcome:?}: {told:?}");
        self.kernel.audit()
    }

    fn all(&self) -> Vec<Connection> {
        connections::list(Arc::clone(&self.kernel.tables)).collect()
    }

    /// Active connections, inactive ones and templates of the service's destinations, the newest first.
    fn counts(&self, vip: SocketAddr) -> Result<Vec<(u32, u32, u32)>> {
        let all = self.kernel.destinations(TCP, vip)?;
        Ok(all.iter().map(|one| (one.active, one.inactive, one.persistent)).collect())
    }

    /// What becomes of the client's packet: the XDP action, and the frame.
    fn answer(&self, net: Net) -> Result<(u32, Decoded)> {
        let (action, frame) = self.kernel.receive(&Packet::tcp(net.client, net.vip, ACK).frame())?;
        Ok((action, decode(&frame).map_err(anyhow::Error::msg)?))
    }
}

fn octets(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|octet| u8::from_str_radix(octet, 16).unwrap()).collect()
}

/// One director for all of these, for the kernel's verifier takes its time; each has services on a port of its own.
#[test]
fn connections_of_other_directors_are_taken_over() {
    run(1 << 10, |twins| {
        messages_of_both_versions_become_connections(twins)?;
        each_method_s_packets_go_on(twins)?;
        an_unknown_destination_is_bound_when_it_is_known(twins)?;
        another_destination_replaces_it_unless_it_is_inactive(twins)?;
        templates_are_of_their_services(twins)?;
        what_is_of_no_use_is_left_out(twins)
    });
}

/// The example with services on this port.
fn nets_on(port: u16) -> [Net; 2] {
    nets().map(|net| Net { vip: SocketAddr::new(net.vip.ip(), port), ..net })
}

fn messages_of_both_versions_become_connections(twins: &mut Twins) -> Result<()> {
    let net = Net { client: at("192.0.2.10:40000"), vip: at("198.51.100.1:80"), server: at("10.0.0.2:8080") };
    twins.add_service(TCP, net.vip, &[server(MASQUERADE, net.server)])?;
    let golden = [
        "00 07 00 2c 01 01 00 00 00 06 00 24 00 00 00 00 00 01 9c 40 00 50 1f 90 \
         00 00 00 00 00 00 03 84 c0 00 02 0a c6 33 64 01 0a 00 00 02",
        // From port 40001.
        "01 07 00 1c 00 06 9c 41 00 50 1f 90 c0 00 02 0a c6 33 64 01 0a 00 00 02 00 00 00 01",
    ];
    for (message, port) in golden.into_iter().zip(40000..) {
        for id in [7, 0] {
            for entry in read(&octets(message), id)? {
                twins.take_over(&entry?)?;
            }
        }
        let all = twins.all();
        let connection = all.iter().find(|one| one.client.port == port).context("it is not there")?;
        ensure!((800..=900).contains(&connection.expires), "{connection:?}");
        ensure!(connection.state_name() == "ESTABLISHED", "{connection:?}");
        let net = Net { client: SocketAddr::new(net.client.ip(), port), ..net };
        let (action, packet) = twins.answer(net)?;
        ensure!(action == REDIRECT && packet.ports() == Some((port, 8080)), "{packet:?}");
        ensure!(packet.inner().destination == net.server.ip(), "{packet:?}");
    }
    ensure!(twins.counts(net.vip)? == [(2, 0, 0)], "{:?}", twins.counts(net.vip)?);
    Ok(())
}

fn each_method_s_packets_go_on(twins: &mut Twins) -> Result<()> {
    for (net, method) in
        nets().into_iter().flat_map(|net| [MASQUERADE, DIRECT_ROUTE, TUNNEL].map(|method| (net, method)))
    {
        let port = 1000 + method as u16;
        let net = Net { vip: SocketAddr::new(net.vip.ip(), port), ..net };
        let server_port = if method == MASQUERADE { net.server.port() } else { port };
        let net = Net { server: SocketAddr::new(net.server.ip(), server_port), ..net };
        twins.add_service(TCP, net.vip, &[server(method, net.server)])?;
        // Whatever method it has elsewhere.
        twins.take_over(&told(net, MASQUERADE))?;
        let (action, packet) = twins.answer(net)?;
        // Tunnels of IPv6 take a step that finds no way out of here.
        ensure!(action == REDIRECT, "{net:?} by {method}: {action}");
        let outermost = packet.ip.first().context("no IP header")?;
        let expected = if method == DIRECT_ROUTE { net.vip.ip() } else { net.server.ip() };
        ensure!(outermost.destination == expected, "{packet:?}");
        ensure!(twins.counts(net.vip)? == [(1, 0, 0)], "{:?}", twins.counts(net.vip)?);
    }
    Ok(())
}

fn an_unknown_destination_is_bound_when_it_is_known(twins: &mut Twins) -> Result<()> {
    for net in nets_on(81) {
        twins.add_service(TCP, net.vip, &[])?;
        twins.take_over(&told(net, MASQUERADE))?;
        ensure!(twins.all().iter().any(|one| one.destination == end(net.server)), "{:?}", twins.all());
        ensure!(twins.answer(net)?.0 == DROP);
        let destination = rlvs_ipvs::Destination {
            method: rlvs_ipvs::ForwardingMethod::Masquerade,
            ..rlvs_ipvs::Destination::new(rlvs_ipvs::DestinationId {
                address: net.server.ip(),
                port: net.server.port(),
            })
        };
        twins.kernel.ask(Request::NewDestination(service_id(TCP, net.vip), Ok(destination)))?;
        ensure!(twins.counts(net.vip)? == [(0, 0, 0)]);
        twins.take_over(&told(net, MASQUERADE))?;
        ensure!(twins.counts(net.vip)? == [(1, 0, 0)]);
    }
    Ok(())
}

fn another_destination_replaces_it_unless_it_is_inactive(twins: &mut Twins) -> Result<()> {
    for net in nets_on(82) {
        let servers = [net.server, net.server_2()].map(|address| server(MASQUERADE, address));
        twins.add_service(TCP, net.vip, &servers)?;
        twins.take_over(&told(net, MASQUERADE))?;
        let moved = SyncedConnection { destination: end(net.server_2()), ..told(net, MASQUERADE) };
        let inactive = SyncedConnection { flags: flag::INACTIVE, state: CLOSE, ..moved.clone() };
        twins.take_over(&inactive)?;
        ensure!(twins.counts(net.vip)? == [(0, 0, 0), (1, 0, 0)]);
        twins.take_over(&moved)?;
        ensure!(twins.counts(net.vip)? == [(1, 0, 0), (0, 0, 0)]);
        twins.take_over(&inactive)?;
        ensure!(twins.counts(net.vip)? == [(0, 1, 0), (0, 0, 0)]);
    }
    Ok(())
}

fn templates_are_of_their_services(twins: &mut Twins) -> Result<()> {
    for net in nets_on(83) {
        twins.add_service(TCP, net.vip, &[server(MASQUERADE, net.server)])?;
        let mark = 7u32.try_into()?;
        let family = rlvs_ipvs::Family::of(net.vip.ip());
        let unported = SocketAddr::new(net.server.ip(), 0);
        twins.add_mark_service(mark, family, &[server(DIRECT_ROUTE, unported)])?;
        let client = Endpoint { port: 0, ..end(net.client) };
        let template = SyncedConnection {
            flags: MASQUERADE | flag::TEMPLATE,
            state: 0,
            client,
            timeout: 300,
            ..told(net, MASQUERADE)
        };
        twins.take_over(&template)?;
        ensure!(twins.counts(net.vip)? == [(0, 0, 1)]);
        // The mark is where IPVS has it: in the address's first 32 bits.
        let address = if net.vip.is_ipv4() { at("0.0.0.7:0") } else { at("[0:7::]:0") };
        let of_mark = SyncedConnection {
            protocol: 0,
            flags: DIRECT_ROUTE | flag::TEMPLATE,
            virtual_server: end(address),
            destination: end(unported),
            mark: 7,
            ..template
        };
        twins.take_over(&of_mark)?;
        twins.take_over(&of_mark)?;
    }
    let templates: Vec<_> = twins.all().into_iter().filter(|one| one.flags & flag::TEMPLATE != 0).collect();
    ensure!(templates.len() == 4, "{templates:?}");
    ensure!(templates.iter().all(|one| (200..=300).contains(&one.expires)), "{templates:?}");
    Ok(())
}

fn what_is_of_no_use_is_left_out(twins: &mut Twins) -> Result<()> {
    let [net, six] = nets_on(84);
    let before = twins.all().len();
    let useless = [
        SyncedConnection { destination: end(six.server), ..told(net, TUNNEL) },
        SyncedConnection { flags: flag::NO_CLIENT_PORT, ..told(net, MASQUERADE) },
    ];
    for told in useless {
        let outcome = twins.kernel.importer.take_over(&twins.kernel.registry, &told)?;
        ensure!(outcome == Outcome::Useless, "{outcome:?}");
    }
    ensure!(twins.all().len() == before);
    let flow = SyncedConnection { protocol: UDP, state: 0, timeout: 0, ..told(net, MASQUERADE) };
    twins.take_over(&flow)?;
    let all = twins.all();
    let flow = all.iter().find(|one| one.protocol == Protocol::UDP).context("it is not there")?;
    ensure!((200..=300).contains(&flow.expires), "UDP's own timeout: {flow:?}");
    Ok(())
}
