//! NAT: addresses and ports change both ways, and nobody can tell from the checksums.

use crate::fixture::*;
use proptest::prelude::*;
use rlvs_packet::tcp::{ACK, SYN};
use rlvs_switch::Verdict;
use rlvs_switch::counters::Event;
use rlvs_switch::destination::Hop;
use rlvs_switch::order;
use rlvs_switch::simulation::{
    CLIENT_MAC, CLIENT_SIDE, DIRECTOR_MAC, Decoded, Packet, SERVER_SIDE, Server, Simulation, Transport,
};

/// The server's answer to what the client sent.
fn answer(net: Net, request: &Packet, flags: u8) -> Packet {
    Packet { source: net.server, destination: net.client, flags, ..request.clone() }
}

fn replied(simulation: &Simulation, packet: &Packet) -> Decoded {
    let (verdict, frame) = simulation.receive_from(SERVER_SIDE, &packet.frame());
    assert_eq!(verdict, Verdict::Redirect(CLIENT_SIDE), "{packet:?}");
    sound(&frame)
}

#[test]
fn a_request_goes_to_the_servers_address_and_port() {
    for net in [v4(), v6()] {
        let simulation = director(net, &Server::nat(net.server));
        for request in [Packet::tcp(net.client, net.vip, SYN), Packet::udp(net.client, net.vip)] {
            let sent = to_server(&simulation, &request);
            assert_eq!((sent.inner().source, sent.inner().destination), (net.client.ip(), net.server.ip()));
            assert_eq!(sent.ports(), Some((net.client.port(), net.server.port())));
            assert_eq!(sent.inner().hops, 63);
            assert_eq!((sent.to, sent.from), ([2, 0, 0, 0, 1, 1], DIRECTOR_MAC));
        }
        simulation.audit().unwrap();
    }
}

#[test]
fn the_reply_comes_from_the_vip() {
    for net in [v4(), v6()] {
        let simulation = director(net, &Server::nat(net.server));
        for request in [Packet::tcp(net.client, net.vip, SYN), Packet::udp(net.client, net.vip)] {
            to_server(&simulation, &request);
            let reply = replied(&simulation, &answer(net, &request, SYN | ACK));
            assert_eq!((reply.inner().source, reply.inner().destination), (net.vip.ip(), net.client.ip()));
            assert_eq!(reply.ports(), Some((net.vip.port(), net.client.port())));
            assert_eq!(reply.inner().hops, 63);
            assert_eq!((reply.to, reply.from), (CLIENT_MAC, DIRECTOR_MAC), "the way that the request came");
        }
        simulation.audit().unwrap();
    }
}

#[test]
fn a_destination_without_a_port_gets_the_clients() {
    let net = v4();
    let simulation = director(net, &Server::nat(at("10.2.0.1:0")));
    let sent = to_server(&simulation, &Packet::tcp(net.client, net.vip, SYN));
    assert_eq!(sent.ports(), Some((net.client.port(), net.vip.port())));
}

#[test]
fn udp_without_a_checksum_gets_one() {
    let net = v4();
    let simulation = director(net, &Server::nat(net.server));
    let request = Packet { checksum: false, ..Packet::udp(net.client, net.vip) };
    let sent = to_server(&simulation, &request);
    assert!(matches!(sent.transport, Transport::Udp { checksum: true, .. }), "{sent:?}");
    let reply = replied(&simulation, &answer(net, &request, 0));
    assert!(matches!(reply.transport, Transport::Udp { checksum: true, .. }), "{reply:?}");
}

#[test]
fn ip_options_stay() {
    let net = v4();
    let simulation = director(net, &Server::nat(net.server));
    for words in 1..=10 {
        let options = [1, 1, 1, 0].repeat(words);
        let request = Packet { options: options.clone(), ..Packet::tcp(net.client, net.vip, SYN) };
        let sent = to_server(&simulation, &request);
        assert_eq!(sent.inner().options, options);
        assert_eq!(sent.ports(), Some((net.client.port(), net.server.port())));
    }
}

#[test]
fn a_reply_takes_the_kernels_route_once_there_is_one() {
    for net in [v4(), v6()] {
        let mut simulation = director(net, &Server::nat(net.server));
        let request = Packet::tcp(net.client, net.vip, SYN);
        to_server(&simulation, &request);
        replied(&simulation, &answer(net, &request, SYN | ACK));
        assert_eq!(simulation.events(Event::ReplyMirrored), 1, "no route: the way that the request came");
        simulation.set_route(net.client.ip(), Hop::new(9, [2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 9, 1], 0));
        let (verdict, frame) = simulation.receive_from(SERVER_SIDE, &answer(net, &request, ACK).frame());
        assert_eq!(verdict, Verdict::Redirect(9));
        assert_eq!(sound(&frame).to, [2, 0, 0, 0, 0, 9]);
    }
}

#[test]
fn a_reply_out_of_hops_is_dropped() {
    let net = v4();
    let simulation = director(net, &Server::nat(net.server));
    let request = Packet::tcp(net.client, net.vip, SYN);
    to_server(&simulation, &request);
    let reply = Packet { hops: 1, ..answer(net, &request, ACK) };
    assert_eq!(simulation.receive_from(SERVER_SIDE, &reply.frame()).0, Verdict::Drop);
    assert_eq!(simulation.events(Event::TimeExceeded), 1);
}

#[test]
fn one_client_port_for_two_vips_and_one_server_is_one_connection_the_newer_one() {
    let net = v4();
    let mut simulation = director(net, &Server::nat(net.server));
    let other = at("10.1.0.201:80");
    let service = simulation.add_service(6, other, rlvs_switch::scheduler::Scheduler::RoundRobin);
    simulation.add_destination(service, &Server::nat(net.server));
    to_server(&simulation, &Packet::tcp(net.client, net.vip, SYN));
    to_server(&simulation, &Packet::tcp(net.client, other, SYN));
    assert_eq!(simulation.state_of(net.client, net.vip), None);
    let reply = replied(&simulation, &answer(net, &Packet::tcp(net.client, other, SYN), SYN | ACK));
    assert_eq!(reply.inner().source, other.ip());
    simulation.audit().unwrap();
}

#[test]
fn packets_and_octets_are_counted_both_ways() {
    let net = v4();
    let simulation = director(net, &Server::nat(net.server));
    let request = Packet { payload: vec![0; 60], ..Packet::tcp(net.client, net.vip, SYN) };
    to_server(&simulation, &request);
    replied(&simulation, &Packet { payload: vec![0; 160], ..answer(net, &request, SYN | ACK) });
    let counters = simulation.counters(0, 0).unwrap();
    let [connections, packets_in, packets_out, octets_in, octets_out] = [
        &counters.connections,
        &counters.packets_in,
        &counters.packets_out,
        &counters.octets_in,
        &counters.octets_out,
    ]
    .map(|cell| cell.load(order::PLAIN));
    assert_eq!((connections, packets_in, octets_in), (1, 1, 100));
    assert_eq!((packets_out, octets_out), (1, 200));
}

proptest! {
    #[test]
    fn any_packet_arrives_as_a_host_would_have_sent_it_to_the_server(
        six: bool,
        udp: bool,
        client_port in 1u16..,
        server_port in 1u16..,
        client_host: u16,
        server_host in 1u16..,
        class: u8,
        hops in 2u8..,
        payload in proptest::collection::vec(any::<u8>(), 0..400),
        vlan in proptest::option::of(1u16..),
        padding in 0usize..20,
    ) {
        // FTP's data port is not scheduled.
        prop_assume!(client_port != 20);
        let net = if six { v6() } else { v4() };
        let mut server = net.server;
        let mut client = net.client;
        let host = |address: &mut std::net::SocketAddr, host: u16, first: u8| match address.ip() {
            std::net::IpAddr::V4(_) => address.set_ip([10, first, (host >> 8) as u8, host as u8].into()),
            std::net::IpAddr::V6(_) => {
                address.set_ip([0xfd00 | first as u16, 0, 0, 0, host, 0, 0, host].into())
            }
        };
        host(&mut server, server_host, 2);
        host(&mut client, client_host, 9);
        server.set_port(server_port);
        client.set_port(client_port);
        let simulation = director(net, &Server::nat(server));
        let request = if udp { Packet::udp(client, net.vip) } else { Packet::tcp(client, net.vip, SYN) };
        let request = Packet { class, hops, payload, vlan, padding, ..request };
        let (verdict, frame) = simulation.receive(&request.frame());
        prop_assert_eq!(verdict, Verdict::Redirect(SERVER_SIDE));
        let expected = Packet {
            destination: server,
            hops: hops - 1,
            vlan: None,
            macs: [sound(&frame).to, DIRECTOR_MAC],
            ..request.clone()
        };
        prop_assert_eq!(frame, expected.frame());

        let reply = Packet { source: server, destination: client, ..request };
        let (verdict, frame) = simulation.receive_from(SERVER_SIDE, &reply.frame());
        prop_assert_eq!(verdict, Verdict::Redirect(CLIENT_SIDE));
        let expected =
            Packet { source: net.vip, hops: hops - 1, macs: [CLIENT_MAC, DIRECTOR_MAC], ..reply };
        prop_assert_eq!(frame, expected.frame());
        simulation.audit().map_err(TestCaseError::fail)?;
    }
}
