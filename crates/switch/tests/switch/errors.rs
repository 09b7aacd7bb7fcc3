//! ICMP errors: right address, right quote, right checksum.

use crate::fixture::*;
use rlvs_packet::tcp::{ACK, SYN};
use rlvs_switch::Verdict;
use rlvs_switch::counters::Event;
use rlvs_switch::simulation::{CLIENT_MAC, DIRECTOR_MAC, Decoded, Packet, Server, Simulation, Transport};

/// The error that the packet provokes, which must go back to its sender from the VIP.
fn error(simulation: &Simulation, packet: &Packet) -> ((u8, u8), u32, Vec<u8>) {
    let (verdict, frame) = simulation.receive(&packet.frame());
    assert_eq!(verdict, Verdict::Transmit, "{packet:?}");
    let Decoded { to, from, vlan, ip, transport, .. } = sound(&frame);
    assert_eq!((to, from, vlan), (CLIENT_MAC, DIRECTOR_MAC, packet.vlan));
    assert_eq!((ip[0].source, ip[0].destination), (packet.destination.ip(), packet.source.ip()));
    let Transport::Icmp { kind, word, quote } = transport else { panic!("no ICMP: {transport:?}") };
    (kind, word, quote)
}

/// The packet from its IP header to the eighth octet of its transport header, as it was sent.
fn beginning(packet: &Packet) -> Vec<u8> {
    let frame = packet.frame();
    let start = if packet.vlan.is_some() { 18 } else { 14 };
    let header = if packet.source.is_ipv4() { 20 + packet.options.len() } else { 40 };
    frame[start..start + header + 8].to_vec()
}

fn kinds_of_packets(net: Net) -> Vec<Packet> {
    let plain = Packet { payload: vec![3; 50], ..Packet::tcp(net.client, net.vip, SYN) };
    let mut kinds = vec![
        plain.clone(),
        Packet::udp(net.client, net.vip),
        Packet { vlan: Some(7), ..plain.clone() },
        Packet { padding: 6, ..plain.clone() },
    ];
    if net.client.is_ipv4() {
        kinds.push(Packet { options: [1, 1, 1, 0].repeat(10), ..plain.clone() });
        kinds.push(Packet { options: vec![1, 1, 1, 0], vlan: Some(7), ..plain });
    }
    kinds
}

#[test]
fn the_last_hop_is_reported_as_time_exceeded() {
    for net in [v4(), v6()] {
        for server in [Server::nat(net.server), Server::direct(net.server), Server::tunnel(net.server)] {
            let simulation = director(net, &server);
            for hops in [0, 1] {
                for packet in kinds_of_packets(net) {
                    let packet = Packet { hops, ..packet };
                    let (kind, word, quote) = error(&simulation, &packet);
                    assert_eq!((kind, word), (if net.client.is_ipv4() { (11, 0) } else { (3, 0) }, 0));
                    assert_eq!(quote, beginning(&packet));
                }
            }
            assert_eq!(simulation.events(Event::TimeExceeded), 2 * kinds_of_packets(net).len() as u32);
        }
    }
}

#[test]
fn a_service_without_destinations_is_an_unreachable_port() {
    for net in [v4(), v6()] {
        let mut simulation = director(net, &Server::nat(net.server));
        simulation.remove_destination(0, 0);
        simulation.set_weight(1, 1, 0);
        for packet in kinds_of_packets(net) {
            let (kind, word, quote) = error(&simulation, &packet);
            assert_eq!((kind, word), (if net.client.is_ipv4() { (3, 3) } else { (1, 4) }, 0));
            assert_eq!(quote, beginning(&packet));
        }
        assert_eq!(simulation.connections(), vec![]);
    }
}

#[test]
fn a_packet_too_big_for_the_link_is_told_how_big_it_may_be() {
    for net in [v4(), v6()] {
        let (icmp, tunnel) = if net.client.is_ipv4() { ((3, 4), 20) } else { ((2, 0), 40) };
        let with_payload = |octets: usize| {
            let header = if net.client.is_ipv4() { 40 } else { 60 };
            Packet { payload: vec![9; octets - header], ..Packet::tcp(net.client, net.vip, SYN) }
        };
        for (server, largest) in [
            (Server::nat(net.server), 1500),
            (Server::direct(net.server), 1500),
            (Server::tunnel(net.server), 1500 - tunnel),
        ] {
            let simulation = director(net, &server);
            to_server(&simulation, &with_payload(largest));
            let packet = with_payload(largest + 1);
            let (kind, word, quote) = error(&simulation, &packet);
            assert_eq!((kind, word), (icmp, largest as u32));
            assert_eq!(quote, beginning(&packet));
            assert_eq!(simulation.events(Event::TooBig), 1);
        }
    }
}

#[test]
fn an_mtu_below_what_every_link_carries_is_not_reported() {
    let net = v6();
    let simulation = director(net, &Server { mtu: 1300, ..Server::tunnel(net.server) });
    let packet = Packet { payload: vec![0; 1230], ..Packet::tcp(net.client, net.vip, SYN) };
    let (_, word, _) = error(&simulation, &packet);
    assert_eq!(word, 1280);
}

#[test]
fn senders_that_cannot_be_answered_get_no_error() {
    for (vip, senders) in [
        (v4().vip, ["0.0.0.0:9", "127.0.0.1:9", "224.0.0.1:9", "255.255.255.255:9"].as_slice()),
        (v6().vip, ["[::]:9", "[ff02::1]:9"].as_slice()),
    ] {
        let net = if vip.is_ipv4() { v4() } else { v6() };
        let simulation = director(net, &Server::nat(net.server));
        for sender in senders {
            let packet = Packet { hops: 1, ..Packet::tcp(at(sender), vip, SYN | ACK) };
            assert_eq!(simulation.receive(&packet.frame()).0, Verdict::Drop, "{sender}");
        }
    }
}

#[test]
fn errors_are_limited_in_rate() {
    for net in [v4(), v6()] {
        let simulation = director(net, &Server::nat(net.server));
        let packet = Packet { hops: 1, ..Packet::udp(net.client, net.vip) }.frame();
        for tick in 1..=2 {
            let sent = (0..1000).filter(|_| simulation.receive(&packet).0 == Verdict::Transmit).count();
            assert_eq!(sent, 67, "a thousand a second, in ticks of 67 ms");
            assert_eq!(simulation.events(Event::ErrorSuppressed), tick * (1000 - 67));
            simulation.advance_ticks(1);
        }
    }
}
