//! Fragments follow the first of their packet.

use crate::fixture::*;
use rlvs_packet::protocol::{TCP, UDP};
use rlvs_packet::tcp::SYN;
use rlvs_switch::Verdict;
use rlvs_switch::counters::Event;
use rlvs_switch::simulation::{CLIENT_SIDE, Packet, SERVER_SIDE, Server, Simulation, decode};

fn large(net: Net, protocol: u8) -> Packet {
    let payload = (0..2000u16).map(|n| n as u8).collect();
    Packet { protocol, payload, dont_fragment: false, ..Packet::tcp(net.client, net.vip, SYN) }
}

/// Sends all fragments, which must leave by `to`; the packets that left, from their IP headers on.
fn sent(simulation: &Simulation, from: u32, to: u32, fragments: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let one = |fragment: &Vec<u8>| {
        let (verdict, frame) = simulation.receive_from(from, fragment);
        assert_eq!(verdict, Verdict::Redirect(to), "{fragment:x?}");
        assert!(decode(&frame).unwrap().wrong_checksums.iter().all(|what| *what != "IPv4"));
        frame[14..].to_vec()
    };
    fragments.iter().map(one).collect()
}

/// What a fragment is when addressed as `like` is, one hop on.
fn one_hop_on(like: &Packet, octets: usize) -> Vec<Vec<u8>> {
    let like = Packet { hops: like.hops - 1, ..like.clone() };
    like.fragments(octets).into_iter().map(|frame| frame[14..].to_vec()).collect()
}

#[test]
fn nat_rewrites_the_whole_packet_both_ways() {
    for net in [v4(), v6()] {
        for protocol in [TCP, UDP] {
            let simulation = director(net, &Server::nat(net.server));
            let request = large(net, protocol);
            let out = sent(&simulation, CLIENT_SIDE, SERVER_SIDE, &request.fragments(512));
            assert_eq!(out, one_hop_on(&Packet { destination: net.server, ..request.clone() }, 512));
            assert_eq!(simulation.connections().len(), 2, "one connection, in both directions");
            let reply = Packet { source: net.server, destination: net.client, identification: 9, ..request };
            let out = sent(&simulation, SERVER_SIDE, CLIENT_SIDE, &reply.fragments(1480));
            assert_eq!(out, one_hop_on(&Packet { source: net.vip, ..reply }, 1480));
            simulation.audit().unwrap();
        }
    }
}

#[test]
fn direct_routing_and_tunnels_send_each_fragment_to_the_same_server() {
    for net in [v4(), v6()] {
        for (server, outer) in [
            (Server::direct(net.server), 0),
            (Server::tunnel(v4().server), 20),
            (Server::tunnel(v6().server), 40),
        ] {
            let simulation = director(net, &server);
            let request = large(net, UDP);
            let out = sent(&simulation, CLIENT_SIDE, SERVER_SIDE, &request.fragments(1024));
            let inner: Vec<_> = out.iter().map(|packet| packet[outer..].to_vec()).collect();
            assert_eq!(inner, one_hop_on(&request, 1024));
            if outer == 20 {
                let mut identifications: Vec<_> = out.iter().map(|packet| packet[4..6].to_vec()).collect();
                identifications.dedup();
                assert_eq!(identifications.len(), out.len(), "outer packets are told apart");
            }
        }
    }
}

#[test]
fn fragments_before_their_first_pass_and_are_counted() {
    for net in [v4(), v6()] {
        let simulation = director(net, &Server::nat(net.server));
        let fragments = large(net, UDP).fragments(512);
        for fragment in fragments[1..].iter().rev() {
            passes_untouched(&simulation, fragment);
        }
        assert_eq!(simulation.events(Event::Fragment), 3);
        assert_eq!(simulation.connections(), vec![]);
        assert_eq!(simulation.receive_kept(), vec![], "the first one has not come");
        // In any order after the first.
        sent(&simulation, CLIENT_SIDE, SERVER_SIDE, &fragments[..1]);
        for fragment in fragments[1..].iter().rev() {
            sent(&simulation, CLIENT_SIDE, SERVER_SIDE, std::slice::from_ref(fragment));
        }
        // Another packet's fragments are not these.
        let other = Packet { identification: 8, ..large(net, UDP) }.fragments(512);
        passes_untouched(&simulation, &other[1]);
    }
}

#[test]
fn fragments_before_their_first_come_back_after_it() {
    for net in [v4(), v6()] {
        for protocol in [TCP, UDP] {
            let simulation = director(net, &Server::nat(net.server));
            let request = large(net, protocol);
            for (from, to, packet, rewritten) in [
                (
                    CLIENT_SIDE,
                    SERVER_SIDE,
                    request.clone(),
                    Packet { destination: net.server, ..request.clone() },
                ),
                (
                    SERVER_SIDE,
                    CLIENT_SIDE,
                    Packet { source: net.server, destination: net.client, ..request.clone() },
                    Packet { source: net.vip, destination: net.client, ..request },
                ),
            ] {
                let fragments = packet.fragments(512);
                for early in fragments[1..].iter().rev() {
                    assert_eq!(simulation.receive_from(from, early), (Verdict::Pass, early.clone()));
                }
                let mut out = sent(&simulation, from, to, &fragments[..1]);
                for (verdict, frame) in simulation.receive_kept().into_iter().rev() {
                    assert_eq!(verdict, Verdict::Redirect(to));
                    out.push(frame[14..].to_vec());
                }
                assert_eq!(out, one_hop_on(&rewritten, 512));
                assert_eq!(simulation.receive_kept(), vec![]);
            }
        }
    }
}

#[test]
fn what_the_first_fragment_said_is_forgotten_after_half_a_minute() {
    for net in [v4(), v6()] {
        let simulation = director(net, &Server::nat(net.server));
        let fragments = large(net, UDP).fragments(1024);
        sent(&simulation, CLIENT_SIDE, SERVER_SIDE, &fragments[..1]);
        simulation.advance(29);
        sent(&simulation, CLIENT_SIDE, SERVER_SIDE, &fragments[1..]);
        simulation.advance(2);
        passes_untouched(&simulation, &fragments[1]);
    }
}

#[test]
fn a_later_fragment_is_never_answered_with_an_error() {
    for net in [v4(), v6()] {
        let simulation = director(net, &Server { mtu: 1000, ..Server::nat(net.server) });
        let fragments = large(net, UDP).fragments(512);
        sent(&simulation, CLIENT_SIDE, SERVER_SIDE, &fragments[..1]);
        let larger = large(net, UDP).fragments(1024);
        assert_eq!(simulation.receive(&larger[1]).0, Verdict::Drop);
        let (cut, refused) = (simulation.events(Event::Fragmented), simulation.events(Event::TooBig));
        assert_eq!((cut, refused), if net.vip.is_ipv4() { (1, 0) } else { (0, 1) });
    }
}
