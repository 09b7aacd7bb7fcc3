//! ICMP errors about packets of connections: they reach whoever sent the packet, and quote it as it was sent.

use crate::fixture::*;
use rlvs_packet::tcp::{ACK, SYN};
use rlvs_switch::simulation::{
    CLIENT_SIDE, Decoded, Packet, SERVER_SIDE, Server, Simulation, Transport, icmp_error,
};
use rlvs_switch::{Memory, Verdict, order};
use std::net::IpAddr;

/// What routers send about a packet that is too large, and the MTU that they name.
fn too_big(net: Net) -> ((u8, u8), u32) {
    if net.client.is_ipv4() { ((3, 4), 1400) } else { ((2, 0), 1400) }
}

/// A router between director and client.
fn router(net: Net) -> IpAddr {
    at(if net.client.is_ipv4() { "10.8.0.1:0" } else { "[fd08::1]:0" }).ip()
}

/// The packet from its IP header on.
fn quote(packet: &Packet) -> Vec<u8> {
    packet.frame()[14..].to_vec()
}

fn connections(net: Net) -> [Packet; 2] {
    [Packet::tcp(net.client, net.vip, SYN), Packet::udp(net.client, net.vip)]
}

/// The same packet in the other direction, between these ends, with some data.
fn answer(request: &Packet, source: std::net::SocketAddr) -> Packet {
    Packet { source, destination: request.source, flags: ACK, payload: vec![7; 100], ..request.clone() }
}

/// The error that left by `interface`, in its parts; its own checksums hold.
fn passed_on(simulation: &Simulation, from: u32, to: u32, error: &[u8]) -> (Decoded, Vec<u8>) {
    let (verdict, frame) = simulation.receive_from(from, error);
    assert_eq!(verdict, Verdict::Redirect(to));
    let decoded = sound(&frame);
    let Transport::Icmp { quote, .. } = decoded.transport.clone() else { panic!("no ICMP: {decoded:?}") };
    (decoded, quote)
}

/// The quote without what translation leaves alone or need not restore: checksums of the quoted transport.
fn ends(quote: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (addresses, header) =
        if quote[0] >> 4 == 4 { (12..20, 4 * (quote[0] & 15) as usize) } else { (8..40, 40) };
    (quote[addresses].to_vec(), quote[header..header + 4].to_vec())
}

#[test]
fn nat_hands_a_routers_error_to_the_server_as_if_about_its_own_packet() {
    for net in [v4(), v6()] {
        for request in connections(net) {
            let simulation = director(net, &Server::nat(net.server));
            to_server(&simulation, &request);
            let (kind, mtu) = too_big(net);
            let seen = answer(&request, net.vip);
            let error = icmp_error(router(net), net.vip.ip(), kind, mtu, &quote(&seen));
            let (sent, quoted) = passed_on(&simulation, CLIENT_SIDE, SERVER_SIDE, &error);
            assert_eq!((sent.inner().source, sent.inner().destination), (router(net), net.server.ip()));
            assert_eq!(sent.inner().hops, 63);
            assert!(
                matches!(sent.transport, Transport::Icmp { kind: k, word, .. } if (k, word) == (kind, mtu))
            );
            assert_eq!(ends(&quoted), ends(&quote(&answer(&request, net.server))));
            if net.client.is_ipv4() {
                assert_eq!(
                    quoted[..20],
                    quote(&answer(&request, net.server))[..20],
                    "the header's checksum, too"
                );
            }
        }
    }
}

#[test]
fn nat_hands_a_servers_error_to_the_client_as_if_from_the_vip() {
    for net in [v4(), v6()] {
        let beyond = at(if net.client.is_ipv4() { "10.2.9.9:0" } else { "[fd02:9::9]:0" }).ip();
        for (request, sender) in connections(net).into_iter().zip([net.server.ip(), beyond]) {
            let simulation = director(net, &Server::nat(net.server));
            to_server(&simulation, &request);
            let arrived = Packet { destination: net.server, ..request.clone() };
            let kind = if net.client.is_ipv4() { (3, 3) } else { (1, 4) };
            let error = icmp_error(sender, net.client.ip(), kind, 0, &quote(&arrived));
            let (sent, quoted) = passed_on(&simulation, SERVER_SIDE, CLIENT_SIDE, &error);
            assert_eq!((sent.inner().source, sent.inner().destination), (net.vip.ip(), net.client.ip()));
            assert_eq!(ends(&quoted), ends(&quote(&request)));
            assert_eq!(count(&simulation), [1, 1, 1], "connection, packets in, packets out");
        }
    }
}

/// Of the destinations of both services: connections, packets in, packets out.
fn count(simulation: &Simulation) -> [u64; 3] {
    let of = |i| {
        let counters = simulation.counters(0, i).unwrap();
        [&counters.connections, &counters.packets_in, &counters.packets_out].map(|c| c.load(order::PLAIN))
    };
    let (a, b) = (of(0), of(1));
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

#[test]
fn direct_routing_and_tunnels_carry_the_error_to_the_connections_server_unchanged() {
    for net in [v4(), v6()] {
        for server in [Server::direct(net.server), Server::tunnel(net.server)] {
            let simulation = director(net, &server);
            let request = Packet::tcp(net.client, net.vip, SYN);
            to_server(&simulation, &request);
            let (kind, mtu) = too_big(net);
            let about = quote(&answer(&request, net.vip));
            let error = icmp_error(router(net), net.vip.ip(), kind, mtu, &about);
            let (verdict, frame) = simulation.receive(&error);
            assert_eq!(verdict, Verdict::Redirect(SERVER_SIDE));
            let inner = frame.len() - (error.len() - 14);
            let hops_at = if net.client.is_ipv4() { 8..12 } else { 7..8 };
            let mut expected = error[14..].to_vec();
            expected[hops_at.clone()].copy_from_slice(&frame[inner..][hops_at]);
            assert_eq!(frame[inner..], expected, "only hops and the header's checksum differ");
            assert_eq!(sound(&frame).inner().hops, 63);
            assert_eq!(count(&simulation), [1, 2, 0]);
        }
    }
}

#[test]
fn an_error_is_no_sign_of_life() {
    for net in [v4(), v6()] {
        let simulation = director(net, &Server::nat(net.server));
        let request = Packet::udp(net.client, net.vip);
        to_server(&simulation, &request);
        simulation.advance(100);
        let before = simulation.connections();
        let (kind, mtu) = too_big(net);
        let error = icmp_error(router(net), net.vip.ip(), kind, mtu, &quote(&answer(&request, net.vip)));
        passed_on(&simulation, CLIENT_SIDE, SERVER_SIDE, &error);
        assert_eq!(simulation.connections(), before);
        simulation.advance(201);
        passes_untouched(&simulation, &error);
    }
}

#[test]
fn an_error_at_its_last_hop_or_too_large_for_the_way_is_not_answered() {
    for net in [v4(), v6()] {
        let simulation = director(net, &Server { mtu: 1300, ..Server::nat(net.server) });
        let request = Packet::udp(net.client, net.vip);
        to_server(&simulation, &request);
        let (kind, mtu) = too_big(net);
        let about = Packet { payload: vec![0; 1250], ..answer(&request, net.vip) };
        let mut error = icmp_error(router(net), net.vip.ip(), kind, mtu, &quote(&about));
        assert_eq!(simulation.receive(&error).0, Verdict::Drop);
        if net.client.is_ipv6() {
            error = icmp_error(router(net), net.vip.ip(), kind, mtu, &quote(&answer(&request, net.vip)));
            error[14 + 7] = 1;
            assert_eq!(simulation.receive(&error).0, Verdict::Drop);
        }
    }
}

#[test]
fn with_schedule_icmp_an_error_opens_a_connection() {
    for net in [v4(), v6()] {
        for server in [Server::nat(net.server), Server::tunnel(net.server)] {
            let simulation = director(net, &server);
            let (kind, mtu) = too_big(net);
            let request = Packet::tcp(net.client, net.vip, SYN);
            let error = icmp_error(router(net), net.vip.ip(), kind, mtu, &quote(&answer(&request, net.vip)));
            passes_untouched(&simulation, &error);
            simulation.config().unwrap().settings.schedule_icmp.store(1, order::PLAIN);
            assert_eq!(simulation.receive(&error).0, Verdict::Redirect(SERVER_SIDE));
            assert_eq!(count(&simulation), [1, 1, 0]);
            simulation.audit().unwrap();
        }
    }
}

#[test]
fn quotes_with_options_and_extension_headers() {
    let net = v4();
    let simulation = director(net, &Server::nat(net.server));
    let request = Packet::tcp(net.client, net.vip, SYN);
    to_server(&simulation, &request);
    let seen = Packet { options: [1, 1, 1, 0].repeat(10), ..answer(&request, net.vip) };
    let error = icmp_error(router(net), net.vip.ip(), (11, 0), 0, &quote(&seen));
    let (_, quoted) = passed_on(&simulation, CLIENT_SIDE, SERVER_SIDE, &error);
    assert_eq!(ends(&quoted), ends(&quote(&Packet { source: net.server, ..seen })));

    let net = v6();
    let simulation = director(net, &Server::nat(net.server));
    let request = Packet::tcp(net.client, net.vip, SYN);
    to_server(&simulation, &request);
    let headers = [(0, vec![1, 4, 0, 0, 0, 0]), (60, vec![1; 14])];
    let seen = answer(&request, net.vip).with_extensions(&headers);
    let error = icmp_error(router(net), net.vip.ip(), (2, 0), 1280, &seen[14..]);
    let (_, quoted) = passed_on(&simulation, CLIENT_SIDE, SERVER_SIDE, &error);
    let expected = answer(&request, net.server).with_extensions(&headers);
    assert_eq!(quoted[..68], expected[14..82], "addresses and ports");
}
