//! ICMP errors from the way of a tunnel, told to the client.

use crate::fixture::*;
use rlvs_packet::tcp::SYN;
use rlvs_switch::counters::Event;
use rlvs_switch::destination::Hop;
use rlvs_switch::destination::tunnel::{CHECKSUM, GRE, GUE, IPIP};
use rlvs_switch::simulation::{
    CLIENT_MAC, CLIENT_SIDE, DIRECTOR_MAC, Packet, SERVER_SIDE, Server, Simulation, Transport, icmp_error,
};
use rlvs_switch::{Memory, Verdict, order};
use std::net::IpAddr;

/// Inner and outer family.
fn pairs() -> [(Net, Net); 4] {
    [(v4(), v4()), (v6(), v6()), (v4(), v6()), (v6(), v4())]
}

fn too_big(net: Net) -> (u8, u8) {
    if net.client.is_ipv4() { (3, 4) } else { (2, 0) }
}

/// A router on the way to the real server.
fn router(net: Net) -> IpAddr {
    at(if net.client.is_ipv4() { "10.2.0.9:0" } else { "[fd02::9]:0" }).ip()
}

/// A director that knows the way to the client, a packet of a known connection, and what the tunnel made of it.
fn tunnelled(inner: Net, server: &Server) -> (Simulation, Packet, Vec<u8>) {
    let mut simulation = director(inner, server);
    simulation.set_route(inner.client.ip(), Hop::new(CLIENT_SIDE, CLIENT_MAC, DIRECTOR_MAC, 0));
    let request = Packet { payload: vec![4; 1000], ..Packet::tcp(inner.client, inner.vip, SYN) };
    let (verdict, sent) = simulation.receive(&request.frame());
    assert_eq!(verdict, Verdict::Redirect(SERVER_SIDE));
    (simulation, request, sent[14..].to_vec())
}

#[test]
fn too_big_for_the_tunnel_is_told_with_the_mtu_inside() {
    for (inner, outer) in pairs() {
        let header = if outer.client.is_ipv4() { 20 } else { 40 };
        for (kind, flags, between) in
            [(IPIP, 0, 0), (GUE, 0, 12), (GUE, CHECKSUM, 12), (GRE, 0, 4), (GRE, CHECKSUM, 8)]
        {
            let server = Server::tunnel_of(kind, flags, outer.server);
            let (simulation, request, sent) = tunnelled(inner, &server);
            let overhead = header + between;
            for (mtu, named) in [(1400, 1400), (9000, 1500), (0, 1500)] {
                let quote = &sent[..sent.len().min(200)];
                let error = icmp_error(router(outer), server.source, too_big(outer), mtu, quote);
                let (verdict, frame) = simulation.receive_from(SERVER_SIDE, &error);
                assert_eq!(verdict, Verdict::Redirect(CLIENT_SIDE));
                let told = sound(&frame);
                assert_eq!((told.to, told.from), (CLIENT_MAC, DIRECTOR_MAC));
                assert_eq!((told.ip[0].source, told.ip[0].destination), (inner.vip.ip(), inner.client.ip()));
                let Transport::Icmp { kind, word, quote } = told.transport else { panic!("no ICMP") };
                assert_eq!((kind, word), (too_big(inner), named - overhead));
                let expected = Packet { hops: 63, ..request.clone() }.frame();
                assert_eq!(quote, expected[14..14 + quote.len()]);
            }
            assert_eq!(simulation.counters(0, 0).unwrap().packets_out.load(rlvs_switch::order::PLAIN), 3);
            // A tunnel of another kind ends elsewhere.
            let other = Server::tunnel_of(if kind == GRE { IPIP } else { GRE }, 0, outer.server);
            let error = icmp_error(router(outer), server.source, too_big(outer), 1400, &sent[..200]);
            passes_untouched(&tunnelled(inner, &other).0, &error);
        }
    }
}

#[test]
fn other_errors_are_told_within_a_family() {
    for (inner, outer) in pairs() {
        let server = Server::tunnel(outer.server);
        let (simulation, _, sent) = tunnelled(inner, &server);
        let kind = if outer.client.is_ipv4() { (3, 1) } else { (1, 3) };
        let error = icmp_error(router(outer), server.source, kind, 0, &sent[..200]);
        let (verdict, frame) = simulation.receive_from(SERVER_SIDE, &error);
        if inner.client.is_ipv4() == outer.client.is_ipv4() {
            assert_eq!(verdict, Verdict::Redirect(CLIENT_SIDE));
            assert!(matches!(sound(&frame).transport, Transport::Icmp { kind: k, .. } if k == kind));
        } else {
            assert_eq!((verdict, frame), (Verdict::Pass, error));
        }
    }
}

#[test]
fn what_quotes_too_little_or_another_tunnel_passes() {
    for (inner, outer) in pairs() {
        let server = Server::tunnel(outer.server);
        let (simulation, _, sent) = tunnelled(inner, &server);
        let error = |quote: &[u8]| icmp_error(router(outer), server.source, too_big(outer), 1400, quote);
        let headers = |net: Net| if net.client.is_ipv4() { 20 } else { 40 };
        let shortest = headers(outer) + headers(inner) + 8;
        for length in 0..shortest - 4 {
            passes_untouched(&simulation, &error(&sent[..length]));
        }
        let mut elsewhere = sent[..200].to_vec();
        elsewhere[headers(outer) - 1] ^= 1;
        passes_untouched(&simulation, &error(&elsewhere));
        let simulation = director(inner, &server);
        passes_untouched(&simulation, &error(&sent[..200]));
    }
}

#[test]
fn without_a_way_to_the_client_nobody_is_told() {
    let (inner, server) = (v4(), Server::tunnel(v4().server));
    let simulation = director(inner, &server);
    let (_, sent) = simulation.receive(&Packet::tcp(inner.client, inner.vip, SYN).frame());
    let error = icmp_error(router(inner), server.source, (3, 4), 1400, &sent[14..]);
    simulation.config().unwrap().samples.store(1, order::PLAIN);
    assert_eq!(simulation.receive_from(SERVER_SIDE, &error).0, Verdict::Drop);
    assert_eq!(simulation.events(Event::Unresolved), 1);
    assert_eq!(*simulation.shown(), [(Event::Unresolved, error)], "to whoever watches");
}
