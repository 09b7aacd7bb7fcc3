//! Tunnels: the client's packet, less a hop, inside another one.

use crate::fixture::*;
use proptest::prelude::*;
use rlvs_packet::tcp::SYN;
use rlvs_switch::Verdict;
use rlvs_switch::simulation::{DIRECTOR_MAC, Packet, SERVER_SIDE, Server};

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
