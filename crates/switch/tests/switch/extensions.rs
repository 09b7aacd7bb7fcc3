//! IPv4 options and IPv6 extension headers: what is behind them is switched as if they were not there, and they stay.

use crate::fixture::*;
use rlvs_packet::tcp::SYN;
use rlvs_switch::Verdict;
use rlvs_switch::counters::Event;
use rlvs_switch::simulation::{CLIENT_SIDE, Packet, SERVER_SIDE, Server, Transport};

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const DESTINATION_OPTIONS: u8 = 60;

/// A header's octets: padding options.
fn padding(octets: usize) -> Vec<u8> {
    let mut body = vec![1, octets as u8 - 4];
    body.resize(octets - 2, 0);
    body
}

/// A routing header without stations left.
fn routed() -> Vec<u8> {
    vec![4, 0, 0, 0, 0, 0]
}

fn chains() -> Vec<Vec<(u8, Vec<u8>)>> {
    vec![
        vec![(HOP_BY_HOP, padding(8))],
        vec![(DESTINATION_OPTIONS, padding(200))],
        vec![(HOP_BY_HOP, padding(16)), (ROUTING, routed()), (DESTINATION_OPTIONS, padding(24))],
        vec![(DESTINATION_OPTIONS, padding(8)); 6],
    ]
}

#[test]
fn packets_with_extension_headers_are_switched_by_every_method() {
    let net = v6();
    for headers in chains() {
        for request in [Packet::tcp(net.client, net.vip, SYN), Packet::udp(net.client, net.vip)] {
            let request = Packet { vlan: Some(7), ..request };
            let frame = request.with_extensions(&headers);

            let simulation = director(net, &Server::nat(net.server));
            let (verdict, out) = simulation.receive(&frame);
            assert_eq!(verdict, Verdict::Redirect(SERVER_SIDE), "{headers:?}");
            let rewritten = Packet { destination: net.server, hops: 63, vlan: None, ..request.clone() };
            assert_eq!(out[14..], rewritten.with_extensions(&headers)[14..]);
            let reply = Packet { source: net.server, destination: net.client, vlan: None, ..request.clone() };
            let (verdict, out) = simulation.receive_from(SERVER_SIDE, &reply.with_extensions(&headers));
            assert_eq!(verdict, Verdict::Redirect(CLIENT_SIDE));
            let rewritten = Packet { source: net.vip, hops: 63, ..reply };
            let link = out.len() - (rewritten.with_extensions(&headers).len() - 14);
            assert_eq!(out[link..], rewritten.with_extensions(&headers)[14..]);

            for (server, outer) in [(Server::direct(net.server), 0), (Server::tunnel(v4().server), 20)] {
                let (verdict, out) = director(net, &server).receive(&frame);
                assert_eq!(verdict, Verdict::Redirect(SERVER_SIDE), "{headers:?}");
                let inside = Packet { hops: 63, vlan: None, ..request.clone() }.with_extensions(&headers);
                assert_eq!(out[14 + outer..], inside[14..]);
            }
        }
    }
}

#[test]
fn too_many_headers_and_stations_left_pass() {
    let net = v6();
    let simulation = director(net, &Server::nat(net.server));
    let request = Packet::tcp(net.client, net.vip, SYN);
    let mut to_visit = routed();
    to_visit[1] = 1;
    for headers in [
        vec![(DESTINATION_OPTIONS, padding(8)); 7],
        vec![(DESTINATION_OPTIONS, padding(248)); 2],
        vec![(ROUTING, to_visit)],
    ] {
        passes_untouched(&simulation, &request.with_extensions(&headers));
    }
    assert_eq!(simulation.events(Event::ExtensionHeader), 3);
}

#[test]
fn every_truncation_passes() {
    let net = v6();
    let simulation = director(net, &Server::nat(net.server));
    let headers = [(HOP_BY_HOP, padding(16)), (DESTINATION_OPTIONS, padding(8))];
    let frame = Packet::udp(net.client, net.vip).with_extensions(&headers);
    for length in 0..frame.len() {
        passes_untouched(&simulation, &frame[..length]);
    }
    // Cut off by the packet's own length, in a frame that goes on.
    for length in 0..headers.len() as u16 * 12 + 7 {
        let mut frame = frame.clone();
        frame[18..20].copy_from_slice(&length.to_be_bytes());
        passes_untouched(&simulation, &frame);
    }
    assert_eq!(simulation.connections(), vec![]);
}

#[test]
fn the_directors_own_errors_quote_the_transport_header_behind_them() {
    let net = v6();
    let simulation = director(net, &Server::direct(net.server));
    let headers = [(HOP_BY_HOP, padding(16)), (DESTINATION_OPTIONS, padding(104))];
    let frame = Packet { hops: 1, ..Packet::udp(net.client, net.vip) }.with_extensions(&headers);
    let (verdict, out) = simulation.receive(&frame);
    assert_eq!(verdict, Verdict::Transmit);
    let Transport::Icmp { kind, quote, .. } = sound(&out).transport else { panic!("no ICMP") };
    assert_eq!(kind, (3, 0));
    assert_eq!(quote, frame[14..14 + 40 + 120 + 8]);
}

#[test]
fn ipv4_options_stay() {
    let net = v4();
    for words in 1..=10 {
        let options = [1, 1, 1, 0].repeat(words);
        let request = Packet { options, ..Packet::tcp(net.client, net.vip, SYN) };
        for (server, outer, destination) in [
            (Server::nat(net.server), 0, net.server),
            (Server::direct(net.server), 0, net.vip),
            (Server::tunnel(net.server), 20, net.vip),
        ] {
            let (verdict, out) = director(net, &server).receive(&request.frame());
            assert_eq!(verdict, Verdict::Redirect(SERVER_SIDE));
            assert_eq!(out[14 + outer..], Packet { destination, hops: 63, ..request.clone() }.frame()[14..]);
        }
    }
}
