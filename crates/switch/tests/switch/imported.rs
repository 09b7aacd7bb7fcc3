//! Connections that another director tells of, and what the switch tells the director's master.

use crate::fixture::*;
use rlvs_packet::protocol::TCP;
use rlvs_packet::tcp::{ACK, FIN, RST, SYN};
use rlvs_switch::config::Tick;
use rlvs_switch::counters::Event;
use rlvs_switch::destination::{Hop, method};
use rlvs_switch::scheduler::Scheduler;
use rlvs_switch::simulation::{
    CLIENT_MAC, CLIENT_SIDE, DIRECTOR_MAC, Decoded, Packet, SERVER_SIDE, Server, Simulation,
};
use rlvs_switch::state::tcp;
use rlvs_switch::sync::{Change, Import, change, import};
use rlvs_switch::table::{TEMPLATE, Told, V4, V6, slot};
use rlvs_switch::{Memory, Verdict, order};
use std::net::{IpAddr, SocketAddr};

/// No destination.
const UNKNOWN: u32 = u32::MAX;

fn words(address: IpAddr) -> [u32; 4] {
    match address {
        IpAddr::V4(ip) => [u32::from_ne_bytes(ip.octets()), 0, 0, 0],
        IpAddr::V6(ip) => {
            let octets = ip.octets();
            let (chunks, _) = octets.as_chunks::<4>();
            std::array::from_fn(|i| u32::from_ne_bytes(chunks[i]))
        }
    }
}

/// The example's connection, established, by this method to the first destination.
fn told_of(net: Net, method: u32) -> Import {
    let [client_port, port, server_port] =
        [net.client, net.vip, net.server].map(|end| end.port().to_be_bytes());
    Import {
        client: words(net.client.ip()),
        virtual_address: words(net.vip.ip()),
        server: words(net.server.ip()),
        ports: [client_port, port],
        server_port,
        protocol: TCP,
        method: method as u8,
        destination: 0,
        state: tcp::ESTABLISHED.into(),
        timeout: Tick::in_seconds(900),
        flags: 0,
        slot: 0,
    }
}

/// Sender and receiver.
fn ends(packet: &Decoded) -> [SocketAddr; 2] {
    let (from, to) = packet.ports().unwrap();
    let ip = packet.inner();
    [SocketAddr::new(ip.source, from), SocketAddr::new(ip.destination, to)]
}

fn take_over(simulation: &Simulation, connection: &Import) -> Import {
    let family = if connection.client[1..] == [0; 3] { 4 } else { 6 };
    let (verdict, after) = simulation.import(family, connection);
    assert_eq!(verdict, Verdict::Pass, "{connection:?}");
    simulation.audit().unwrap();
    after
}

#[test]
fn its_packets_are_switched_as_if_it_had_begun_here() {
    for net in [v4(), v6()] {
        for (server, method) in [
            (Server::nat(net.server), method::MASQUERADE),
            (Server::direct(net.server), method::DIRECT_ROUTE),
        ] {
            let mut simulation = director(net, &server);
            simulation.set_route(net.client.ip(), Hop::new(CLIENT_SIDE, CLIENT_MAC, DIRECTOR_MAC, 0));
            take_over(&simulation, &told_of(net, method));
            assert_eq!(simulation.connections_of(0), (1, 0));
            assert_eq!(simulation.state_of(net.client, net.vip), Some("ESTABLISHED"));
            // Without a SYN.
            let out = to_server(&simulation, &Packet::tcp(net.client, net.vip, ACK));
            if method == method::MASQUERADE {
                assert_eq!(ends(&out)[1], net.server);
                let reply = Packet::tcp(net.server, net.client, ACK);
                let (verdict, frame) = simulation.receive_from(SERVER_SIDE, &reply.frame());
                assert_eq!(verdict, Verdict::Redirect(CLIENT_SIDE));
                assert_eq!(ends(&sound(&frame)), [net.vip, net.client]);
            }
            // Once more changes nothing.
            take_over(&simulation, &told_of(net, method));
            assert_eq!(simulation.connections_of(0), (1, 0));
            simulation.advance(901);
            assert_eq!(simulation.sweep(), 1);
            assert_eq!((simulation.connections(), simulation.connections_of(0)), (vec![], (0, 0)));
        }
    }
}

#[test]
fn the_director_hears_of_clients_whose_way_is_not_known() {
    let net = v6();
    let mut simulation = director(net, &Server::nat(net.server));
    simulation.config().unwrap().daemons[1].started.store(1, order::PLAIN);
    take_over(&simulation, &told_of(net, method::MASQUERADE));
    let reply = Packet::tcp(net.server, net.client, ACK).frame();
    assert_eq!(simulation.receive_from(SERVER_SIDE, &reply).0, Verdict::Drop);
    let entry = simulation.connections().into_iter().find(|entry| entry.reply).unwrap().slot;
    assert_eq!(simulation.told()[..], [Change::new::<V6>(entry, change::NO_WAY)]);
    simulation.set_route(net.client.ip(), Hop::new(CLIENT_SIDE, CLIENT_MAC, DIRECTOR_MAC, 0));
    assert_eq!(simulation.receive_from(SERVER_SIDE, &reply).0, Verdict::Redirect(CLIENT_SIDE));
}

#[test]
fn state_and_time_are_taken_over() {
    let net = v4();
    let simulation = director(net, &Server::nat(net.server));
    simulation.receive(&Packet::tcp(net.client, net.vip, SYN).frame());
    assert_eq!(simulation.state_of(net.client, net.vip), Some("SYN_RECV"));
    take_over(&simulation, &told_of(net, method::MASQUERADE));
    assert_eq!(simulation.state_of(net.client, net.vip), Some("ESTABLISHED"));
    let closing = Import {
        state: tcp::TIME_WAIT.into(),
        timeout: Tick::in_seconds(120),
        flags: import::INACTIVE,
        ..told_of(net, method::MASQUERADE)
    };
    take_over(&simulation, &closing);
    assert_eq!(simulation.connections_of(0), (0, 1));
    simulation.advance(119);
    assert_eq!(simulation.sweep(), 0);
    simulation.advance(2);
    assert_eq!(simulation.sweep(), 1);
    simulation.audit().unwrap();
}

#[test]
fn another_real_server_takes_the_connection_unless_it_is_inactive() {
    let net = v4();
    let mut simulation = Simulation::new(1 << 10, 1);
    let service = simulation.add_service(TCP, net.vip, Scheduler::RoundRobin);
    let other = at("10.2.0.2:8080");
    for server in [net.server, other] {
        simulation.add_destination(service, &Server::nat(server));
    }
    take_over(&simulation, &told_of(net, method::MASQUERADE));
    let moved = |flags, state: u8| Import {
        server: words(other.ip()),
        destination: 1,
        state: state.into(),
        flags,
        ..told_of(net, method::MASQUERADE)
    };
    take_over(&simulation, &moved(import::INACTIVE, tcp::CLOSE));
    assert_eq!((simulation.connections_of(0), simulation.connections_of(1)), ((1, 0), (0, 0)));
    take_over(&simulation, &moved(0, tcp::ESTABLISHED));
    assert_eq!((simulation.connections_of(0), simulation.connections_of(1)), ((0, 0), (1, 0)));
    assert_eq!(ends(&to_server(&simulation, &Packet::tcp(net.client, net.vip, ACK)))[1], other);
}

#[test]
fn without_a_destination_it_waits_for_one() {
    for net in [v4(), v6()] {
        let simulation = director(net, &Server::nat(net.server));
        let unbound = Import { destination: UNKNOWN, ..told_of(net, method::MASQUERADE) };
        take_over(&simulation, &unbound);
        take_over(&simulation, &unbound);
        assert_eq!(simulation.connections_of(0), (0, 0));
        let packet = Packet::tcp(net.client, net.vip, ACK).frame();
        assert_eq!(simulation.receive(&packet).0, Verdict::Drop);
        assert_eq!(simulation.events(Event::DestinationGone), 1);
        take_over(&simulation, &told_of(net, method::MASQUERADE));
        assert_eq!(simulation.connections_of(0), (1, 0));
        // One that has its destination keeps it.
        take_over(&simulation, &unbound);
        assert_eq!(simulation.connections_of(0), (1, 0));
        to_server(&simulation, &Packet::tcp(net.client, net.vip, ACK));
    }
}

#[test]
fn a_template_leads_new_connections() {
    let net = v4();
    let mut simulation = Simulation::new(1 << 10, 1);
    let service = simulation.add_service(TCP, net.vip, Scheduler::RoundRobin);
    for _ in 0..3 {
        simulation.add_destination(service, &Server::nat(net.server));
    }
    simulation.make_persistent(service, 300, u32::MAX);
    let [_, port] = told_of(net, 0).ports;
    let template = Import {
        ports: [[0; 2], port],
        protocol: TCP ^ TEMPLATE,
        state: 0,
        timeout: Tick::in_seconds(300),
        flags: import::TEMPLATE,
        ..told_of(net, method::MASQUERADE)
    };
    take_over(&simulation, &template);
    // In turn it would have been the last destination's, then the second's.
    for port in [1000, 1001] {
        let client = SocketAddr::new(net.client.ip(), port);
        to_server(&simulation, &Packet::tcp(client, net.vip, SYN));
    }
    assert_eq!(simulation.connections_of(0), (2, 0));
    take_over(&simulation, &Import { state: 1, ..template });
    let found = simulation.connections().into_iter().find(|entry| entry.template).unwrap();
    assert_eq!((found.state, found.server), ("ASSURED", 0));
    // It stays while it controls connections, whoever tells of it.
    simulation.advance(61);
    simulation.sweep();
    simulation.advance(240);
    simulation.sweep();
    simulation.sweep();
    assert_eq!(simulation.connections(), vec![]);
}

#[test]
fn a_reply_s_tuple_is_left_alone() {
    let net = v4();
    let simulation = director(net, &Server::nat(net.server));
    take_over(&simulation, &told_of(net, method::MASQUERADE));
    let taken = Import {
        client: words(net.server.ip()),
        virtual_address: words(net.client.ip()),
        ports: [net.server.port(), net.client.port()].map(u16::to_be_bytes),
        ..told_of(net, method::MASQUERADE)
    };
    assert_eq!(simulation.import(4, &taken).0, Verdict::Drop);
    simulation.audit().unwrap();
    assert_eq!(simulation.connections_of(0), (1, 0));
}

#[test]
fn without_room_it_is_refused() {
    let net = v4();
    let mut simulation = Simulation::new(8, 1);
    let service = simulation.add_service(TCP, net.vip, Scheduler::RoundRobin);
    simulation.add_destination(service, &Server::direct(net.server));
    for port in 1..=8u16 {
        let [_, to] = told_of(net, 0).ports;
        let ports = [port.to_be_bytes(), to];
        take_over(&simulation, &Import { ports, ..told_of(net, method::DIRECT_ROUTE) });
    }
    assert_eq!(simulation.import(4, &told_of(net, method::DIRECT_ROUTE)).0, Verdict::Drop);
    simulation.audit().unwrap();
}

#[test]
fn the_master_hears_of_states_while_it_runs() {
    let net = v4();
    let simulation = director(net, &Server::nat(net.server));
    let play = |flags| simulation.receive(&Packet::tcp(net.client, net.vip, flags).frame());
    let reply =
        |flags| simulation.receive_from(SERVER_SIDE, &Packet::tcp(net.server, net.client, flags).frame());
    let heard = || simulation.told().drain(..).map(|change| (change.family, change.slot)).collect::<Vec<_>>();
    play(SYN);
    reply(SYN | ACK);
    play(ACK);
    assert_eq!(heard(), []);
    let forward = simulation.connections().into_iter().find(|entry| !entry.reply).unwrap().slot;
    simulation.config().unwrap().daemons[0].started.store(1, order::PLAIN);
    play(ACK);
    assert_eq!(heard(), [], "nothing changed");
    play(FIN | ACK);
    assert_eq!(heard(), [(4, forward)]);
    reply(FIN | ACK);
    assert_eq!(heard(), [(4, forward)], "the reply changes the state of the same connection");
    play(RST);
    assert_eq!(heard(), [(4, forward)]);
    // From the beginning: not before it is established.
    play(SYN);
    assert_eq!(heard(), []);
    reply(SYN | ACK);
    assert_eq!(heard(), []);
    play(ACK);
    assert_eq!(heard().len(), 1);
    for expected in [1, 0] {
        simulation.receive(&Packet::udp(net.client, net.vip).frame());
        assert_eq!(heard().len(), expected, "when it begins; the master sees by itself whether it lasts");
    }
}

#[test]
fn a_template_is_told_of_when_it_is_made() {
    let net = v4();
    let mut simulation = Simulation::new(1 << 10, 1);
    let service = simulation.add_service(TCP, net.vip, Scheduler::RoundRobin);
    simulation.add_destination(service, &Server::nat(net.server));
    simulation.make_persistent(service, 300, u32::MAX);
    simulation.config().unwrap().daemons[0].started.store(1, order::PLAIN);
    to_server(&simulation, &Packet::tcp(net.client, net.vip, SYN));
    let template = simulation.connections().into_iter().find(|entry| entry.template).unwrap().slot;
    assert_eq!(simulation.told().iter().map(|change| change.slot).collect::<Vec<_>>(), [template]);
}

#[test]
fn a_slot_keeps_when_its_entry_was_synchronised() {
    let net = v4();
    let simulation = director(net, &Server::nat(net.server));
    let index = take_over(&simulation, &told_of(net, method::MASQUERADE)).slot;
    let place = slot::<_, V4>(&simulation, index).unwrap();
    assert_eq!(place.told().state(), tcp::ESTABLISHED);
    assert!(place.told().moved(place.expires()).abs() < Told::UNIT as i32);
    simulation.advance(100);
    to_server(&simulation, &Packet::tcp(net.client, net.vip, ACK));
    let moved = Tick::to_seconds(place.told().moved(place.expires()) as u32);
    assert!((98..=101).contains(&moved), "{moved}");
    place.set_told(place.meta(), Told::new(tcp::ESTABLISHED, place.expires()));
    assert_eq!(place.told().moved(place.expires()), 0);
    // A new entry has never been.
    simulation.receive(&Packet::tcp(net.client, net.vip, RST).frame());
    simulation.advance(11);
    to_server(&simulation, &Packet::tcp(net.client, net.vip, SYN));
    let entry = simulation.connections().into_iter().find(|entry| !entry.reply).unwrap();
    assert_eq!(slot::<_, V4>(&simulation, entry.slot).unwrap().told(), Told::NEVER);
}
