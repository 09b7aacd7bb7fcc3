//! Tunnels: the client's packet, less a hop, inside another one.

use crate::fixture::*;
use proptest::prelude::*;
use rlvs_packet::tcp::{ACK, SYN};
use rlvs_switch::destination::tunnel::{CHECKSUM, GRE, GUE, IPIP, REMOTE_CHECKSUM};
use rlvs_switch::simulation::packet::ones_complement_sum;
use rlvs_switch::simulation::{Between, DIRECTOR_MAC, Packet, SERVER_SIDE, Server, Transport, icmp_error};
use rlvs_switch::{Memory, Verdict, order};

/// Inner and outer family.
fn pairs() -> [(Net, Net); 4] {
    [(v4(), v4()), (v6(), v6()), (v4(), v6()), (v6(), v4())]
}

#[test]
fn each_family_travels_in_each_family() {
    for (inner, outer) in pairs() {
        let server = Server::tunnel(outer.server);
        let simulation = director(inner, &server);
        for request in [Packet::tcp(inner.client, inner.vip, SYN), Packet::udp(inner.client, inner.vip)] {
            let sent = to_server(&simulation, &request);
            assert_eq!(sent.ip.len(), 2);
            assert_eq!((sent.ip[0].source, sent.ip[0].destination), (server.source, outer.server.ip()));
            assert_eq!(
                (sent.ip[1].source, sent.ip[1].destination),
                (inner.client.ip(), inner.vip.ip()),
                "the real server has the VIP"
            );
            assert_eq!(sent.ports(), Some((inner.client.port(), inner.vip.port())));
            assert_eq!((sent.ip[0].hops, sent.ip[1].hops), (63, 63));
            assert_eq!((sent.to, sent.from), ([2, 0, 0, 0, 1, 1], DIRECTOR_MAC));
        }
        simulation.audit().unwrap();
    }
}

#[test]
fn the_outer_header_does_not_show_a_congestion_mark() {
    for (inner, outer) in pairs() {
        let simulation = director(inner, &Server::tunnel(outer.server));
        let marked = Packet { class: 0b1011_1011, ..Packet::tcp(inner.client, inner.vip, SYN) };
        let sent = to_server(&simulation, &marked);
        assert_eq!((sent.ip[0].class, sent.ip[1].class), (0b1011_1010, 0b1011_1011));
    }
}

#[test]
fn dont_fragment_is_inherited() {
    let net = v4();
    let simulation = director(net, &Server::tunnel(net.server));
    for dont_fragment in [false, true] {
        let request = Packet { dont_fragment, identification: 77, ..Packet::tcp(net.client, net.vip, SYN) };
        let sent = to_server(&simulation, &request);
        assert_eq!(sent.ip[0].dont_fragment, dont_fragment);
        if !dont_fragment {
            assert_eq!(sent.ip[0].identification, 77, "fragments of two packets must not be mixed up");
        }
    }
}

proptest! {
    #[test]
    fn what_is_inside_is_what_the_client_sent(
        pair in 0usize..4,
        udp: bool,
        class: u8,
        hops in 2u8..,
        options in 0usize..=10,
        payload in proptest::collection::vec(any::<u8>(), 0..400),
        vlan in proptest::option::of(1u16..),
        padding in 0usize..20,
    ) {
        let (inner, outer) = pairs()[pair];
        let options = if inner.client.is_ipv4() { [1, 1, 1, 0].repeat(options) } else { Vec::new() };
        let simulation = director(inner, &Server::tunnel(outer.server));
        let request = if udp {
            Packet::udp(inner.client, inner.vip)
        } else {
            Packet::tcp(inner.client, inner.vip, SYN)
        };
        let request = Packet { class, hops, payload, options, vlan, padding, ..request };
        let (verdict, frame) = simulation.receive(&request.frame());
        prop_assert_eq!(verdict, Verdict::Redirect(SERVER_SIDE));
        sound(&frame);
        let outer_length = 14 + if outer.client.is_ipv4() { 20 } else { 40 };
        let expected = Packet { hops: hops - 1, vlan: None, ..request }.frame();
        prop_assert_eq!(&frame[outer_length..], &expected[14..]);
    }
}

/// Kinds and flags of tunnels with a header of their own, and whether that has a checksum.
const KINDS: [(u32, u32, bool); 6] = [
    (GUE, 0, false),
    (GUE, CHECKSUM, true),
    (GUE, REMOTE_CHECKSUM, true),
    (GRE, 0, false),
    (GRE, CHECKSUM, true),
    (GRE, REMOTE_CHECKSUM, false),
];

#[test]
fn gue_and_gre_carry_each_family_in_each_family() {
    for (inner, outer) in pairs() {
        for (kind, flags, checksum) in KINDS {
            let server = Server::tunnel_of(kind, flags, outer.server);
            let simulation = director(inner, &server);
            let request = Packet { class: 0b1011_1011, ..Packet::udp(inner.client, inner.vip) };
            let sent = to_server(&simulation, &request);
            let ends: Vec<_> = sent.ip.iter().map(|ip| (ip.source, ip.destination)).collect();
            assert_eq!(ends, [(server.source, outer.server.ip()), (inner.client.ip(), inner.vip.ip())]);
            assert_eq!(sent.ip[0].length - sent.ip[1].length, overhead(kind, checksum, outer) as usize);
            assert_eq!((sent.ip[0].hops, sent.ip[0].class), (63, 0b1011_1010));
            match sent.between {
                Some(Between::Gue { source, checksum: has }) => {
                    assert_eq!((kind, has), (GUE, checksum));
                    assert!((32768..61000).contains(&source), "{source} is no ephemeral port");
                }
                Some(Between::Gre { checksum: has }) => assert_eq!((kind, has), (GRE, checksum)),
                None => panic!("no tunnel header: {sent:?}"),
            }
            simulation.audit().unwrap();
        }
    }
}

#[test]
fn the_headers_between_are_those_of_ipvs() {
    for (inner, outer) in pairs() {
        let v4 = inner.client.is_ipv4();
        let (number, ethertype) = if v4 { (4, [0x08, 0x00]) } else { (41, [0x86, 0xdd]) };
        for (kind, flags, _) in KINDS {
            let server = Server::tunnel_of(kind, flags, outer.server);
            let request = Packet::udp(inner.client, inner.vip).frame();
            let (_, sent) = director(inner, &server).receive(&request);
            let between = &sent[14 + if outer.client.is_ipv4() { 20 } else { 40 }..];
            match (kind, flags) {
                (GUE, 0) => {
                    assert_eq!(between[2..4], server.tunnel.port());
                    assert_eq!(between[6..12], [0, 0, 0, number, 0, 0]);
                }
                (GUE, _) => {
                    assert_ne!(between[6..8], [0, 0]);
                    assert_eq!(between[8..12], [0, number, 0, 0]);
                }
                (_, CHECKSUM) => {
                    assert_eq!(between[..4], [0x80, 0, ethertype[0], ethertype[1]]);
                    assert_eq!(between[6..8], [0, 0]);
                }
                _ => assert_eq!(between[..4], [0, 0, ethertype[0], ethertype[1]]),
            }
        }
    }
}

#[test]
fn without_pmtu_disc_the_outer_packet_may_be_fragmented() {
    for (kind, flags) in [(IPIP, 0), (GUE, CHECKSUM), (GRE, 0)] {
        let net = v4();
        let simulation = director(net, &Server::tunnel_of(kind, flags, net.server));
        let request = Packet { dont_fragment: true, ..Packet::tcp(net.client, net.vip, SYN) };
        assert!(to_server(&simulation, &request).ip[0].dont_fragment);
        simulation.config().unwrap().settings.pmtu_disc.store(0, order::PLAIN);
        assert!(!to_server(&simulation, &request).ip[0].dont_fragment);
    }
}

#[test]
fn connections_have_their_own_gue_source_ports() {
    let net = v4();
    let simulation = director(net, &Server::tunnel_of(GUE, 0, net.server));
    let port_of = |client_port, flags| {
        let mut client = net.client;
        client.set_port(client_port);
        match to_server(&simulation, &Packet::tcp(client, net.vip, flags)).between {
            Some(Between::Gue { source, .. }) => source,
            other => panic!("{other:?}"),
        }
    };
    let first: Vec<_> = (1000..1030).map(|port| port_of(port, SYN)).collect();
    let later: Vec<_> = (1000..1030).map(|port| port_of(port, ACK)).collect();
    assert_eq!(first, later);
    let different: std::collections::BTreeSet<_> = first.iter().collect();
    assert!(different.len() > 20, "{first:?}");
}

#[test]
fn what_fits_depends_on_the_whole_encapsulation() {
    for (inner, outer) in pairs() {
        for (kind, flags, checksum) in KINDS {
            let server = Server { mtu: 1400, ..Server::tunnel_of(kind, flags, outer.server) };
            let simulation = director(inner, &server);
            let mtu = 1400 - overhead(kind, checksum, outer);
            let headers = if inner.client.is_ipv4() { 28 } else { 48 };
            let of_length = |length: u32| Packet {
                payload: vec![1; length as usize - headers],
                ..Packet::udp(inner.client, inner.vip)
            };
            assert_eq!(to_server(&simulation, &of_length(mtu)).ip[0].length, 1400);
            let (verdict, frame) = simulation.receive(&of_length(mtu + 1).frame());
            assert_eq!(verdict, Verdict::Transmit);
            let Transport::Icmp { word, .. } = sound(&frame).transport else { panic!("no ICMP error") };
            let least = if inner.client.is_ipv4() { 68 } else { 1280 };
            assert_eq!(word, mtu.max(least));
        }
    }
}

/// Octets that a tunnel takes.
fn overhead(kind: u32, checksum: bool, outer: Net) -> u32 {
    let between = match (kind, checksum) {
        (GUE, _) => 12,
        (_, true) => 8,
        (_, false) => 4,
    };
    between + if outer.client.is_ipv4() { 20 } else { 40 }
}

proptest! {
    /// With an inner checksum, without one, and with one that does not cover all.
    #[test]
    fn checksums_of_gue_and_gre_hold_for_any_packet(
        pair in 0usize..4,
        kind in 0usize..6,
        udp: bool,
        checksum: bool,
        shorter in proptest::option::of(0u16..20),
        options in 0usize..=10,
        payload in proptest::collection::vec(any::<u8>(), 0..1300),
        vlan in proptest::option::of(1u16..),
        padding in 0usize..20,
    ) {
        let (inner, outer) = pairs()[pair];
        let (kind, flags, _) = KINDS[kind];
        let options = if inner.client.is_ipv4() { [1, 1, 1, 0].repeat(options) } else { Vec::new() };
        let simulation = director(inner, &Server::tunnel_of(kind, flags, outer.server));
        let request = if udp {
            Packet::udp(inner.client, inner.vip)
        } else {
            Packet::tcp(inner.client, inner.vip, SYN)
        };
        let checksum = checksum || !udp;
        let request = Packet { checksum, payload, options, vlan, padding, ..request };
        let mut frame = request.frame();
        let shorter = shorter.filter(|by| udp && !checksum && usize::from(*by) < request.payload.len());
        if let Some(shorter) = shorter {
            // UDP's own length leaves some octets out.
            let at = frame.len() - padding - request.payload.len() - 4;
            let length = u16::from_be_bytes([frame[at], frame[at + 1]]) - shorter;
            frame[at..at + 2].copy_from_slice(&length.to_be_bytes());
        }
        let (verdict, sent) = simulation.receive(&frame);
        prop_assert_eq!(verdict, Verdict::Redirect(SERVER_SIDE));
        sound(&sent);
        let inside = if vlan.is_some() { 18 } else { 14 };
        let length = frame.len() - inside - if inner.client.is_ipv4() { 12 } else { 8 };
        // From the addresses on, nothing has changed.
        prop_assert_eq!(&sent[sent.len() - length..], &frame[frame.len() - length..]);
    }
}

/// Fragments, ICMP errors and packets behind extension headers have no checksum over all of them.
#[test]
fn the_outer_checksum_covers_packets_without_one_of_their_own() {
    for net in [v4(), v6()] {
        let whole =
            Packet { payload: vec![7; 2001], dont_fragment: false, ..Packet::tcp(net.client, net.vip, SYN) };
        let answer = Packet { source: net.vip, destination: net.client, flags: ACK, ..whole.clone() }.frame();
        let kind = if net.vip.is_ipv4() { (3, 3) } else { (1, 4) };
        let mut frames = whole.fragments(1024);
        frames.push(icmp_error(net.client.ip(), net.vip.ip(), kind, 0, &answer[14..137]));
        if net.vip.is_ipv6() {
            frames.push(
                Packet { payload: vec![7; 9], ..whole }.with_extensions(&[(60, vec![1, 4, 0, 0, 0, 0])]),
            );
        }
        for kind in [GUE, GRE] {
            let simulation = director(net, &Server::tunnel_of(kind, CHECKSUM, v4().server));
            for frame in &frames {
                let (verdict, out) = simulation.receive(frame);
                assert_eq!(verdict, Verdict::Redirect(SERVER_SIDE));
                let (header, content) = out[14..].split_at(20);
                let length = [[0, 17], (content.len() as u16).to_be_bytes()].concat();
                let pseudo: &[&[u8]] = if kind == GUE { &[&header[12..], &length] } else { &[] };
                let sum = ones_complement_sum(&[pseudo, &[content]].concat());
                assert_eq!(sum, 0xffff, "{kind}: {frame:x?}");
            }
        }
    }
}
