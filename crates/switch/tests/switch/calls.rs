//! SIP calls: `--pe sip`.

use crate::fixture::*;
use rlvs_packet::protocol::{TCP, UDP};
use rlvs_packet::tcp::SYN;
use rlvs_switch::Verdict;
use rlvs_switch::counters::Event;
use rlvs_switch::destination::Hop;
use rlvs_switch::scheduler::Scheduler;
use rlvs_switch::service::flag::{ONE_PACKET, PERSISTENT};
use rlvs_switch::simulation::{
    CLIENT_MAC, CLIENT_SIDE, Connection, DIRECTOR_MAC, Decoded, Packet, SERVER_SIDE, Server, Simulation,
};
use std::net::SocketAddr;

/// What a message that starts a call begins with.
const INVITE: &str = "INVITE sip:bob@example.com SIP/2.0\r\n";

/// A UDP service that tells calls apart, with two real servers over NAT of the indexes 0 and 1, and a route to the client.
fn exchange(net: Net, flags: u32) -> Simulation {
    let mut simulation = Simulation::new(1 << 10, 1);
    let service = simulation.add_service(UDP, net.vip, Scheduler::RoundRobin);
    for n in 0..2 {
        simulation.add_destination(service, &Server { mtu: 3000, ..Server::nat(server(net, n)) });
    }
    simulation.make_persistent(service, 60, if net.vip.is_ipv4() { u32::MAX } else { 128 });
    simulation.set_flags(service, flags);
    simulation.tell_calls_apart(service);
    simulation.set_route(net.client.ip(), Hop::new(CLIENT_SIDE, CLIENT_MAC, DIRECTOR_MAC, 0));
    simulation
}

fn server(net: Net, n: u16) -> SocketAddr {
    SocketAddr::new(net.server.ip(), net.server.port() + n)
}

fn message(from: SocketAddr, to: SocketAddr, text: &str) -> Packet {
    Packet { payload: text.into(), ..Packet::udp(from, to) }
}

fn of_call(call: &str) -> String {
    format!("{INVITE}Via: SIP/2.0/UDP\r\nCall-ID: {call}\r\n\r\n")
}

/// Sends a message of a call from a port of the client; the real server that it reaches.
fn reached(simulation: &Simulation, net: Net, port: u16, text: &str) -> Option<u16> {
    let client = SocketAddr::new(net.client.ip(), port);
    let packet = message(client, net.vip, text);
    let (verdict, frame) = simulation.receive(&packet.frame());
    if verdict == Verdict::Drop {
        return None;
    }
    assert_eq!(verdict, Verdict::Redirect(SERVER_SIDE), "{text}");
    let sent = sound(&frame);
    let (source, destination) = ends(&sent);
    assert_eq!((source, destination.ip()), (client, net.server.ip()));
    Some(destination.port() - net.server.port())
}

/// Sender and receiver.
fn ends(packet: &Decoded) -> (SocketAddr, SocketAddr) {
    let (ip, (from, to)) = (packet.inner(), packet.ports().unwrap());
    (SocketAddr::new(ip.source, from), SocketAddr::new(ip.destination, to))
}

fn templates(simulation: &Simulation) -> Vec<Connection> {
    simulation.connections().into_iter().filter(|c| c.template).collect()
}

#[test]
fn the_messages_of_a_call_reach_one_server_whatever_their_port() {
    for net in [v4(), v6()] {
        let simulation = exchange(net, PERSISTENT);
        let reached = |port, call| reached(&simulation, net, port, &of_call(call)).unwrap();
        let first = reached(1, "a1@h");
        assert_ne!(reached(2, "b1@h"), first, "another call of the same client");
        for port in 3..20 {
            assert_eq!(reached(port, "a1@h"), first);
            assert_ne!(reached(port + 100, "b1@h"), first);
        }
        assert_eq!(reached(1, "b1@h"), first, "of a known connection no message is read");
        let mut calls: Vec<_> = templates(&simulation).iter().filter_map(|t| simulation.call_of(t)).collect();
        calls.sort_unstable();
        assert_eq!(calls, ["a1@h", "b1@h"]);
        assert!(templates(&simulation).iter().all(|t| t.source.ip() == net.client.ip()));
        assert!(templates(&simulation).iter().all(|t| t.state == "NONE"));
        let answer = message(server(net, first), SocketAddr::new(net.client.ip(), 1), "").frame();
        assert_eq!(simulation.receive_from(SERVER_SIDE, &answer).0, Verdict::Redirect(CLIENT_SIDE));
        let assured = |t: &&Connection| t.state == "ASSURED" && t.server == u32::from(first);
        assert_eq!(templates(&simulation).iter().filter(assured).count(), 1, "a reply to one call");
        simulation.audit().unwrap();
    }
}

#[test]
fn a_call_of_another_client_is_another_call() {
    let net = v4();
    let simulation = exchange(net, PERSISTENT);
    let other = Net { client: at("10.9.0.8:1"), ..net };
    assert_ne!(reached(&simulation, net, 1, &of_call("a")), reached(&simulation, other, 1, &of_call("a")));
}

/// As the kernel's IPVS read these.
#[test]
fn a_call_id_is_read_as_ipvs_does() {
    let long = ["x".repeat(255), "x".repeat(256)];
    let after = |octets: usize| "y".repeat(octets - INVITE.len() - 2);
    let cases = [
        ("Call-ID: a1@h\r\n\r\n", Some("a1@h")),
        ("i: a1@h\r\n\r\n", Some("a1@h")),
        ("I\t:a1@h\n", Some("a1@h")),
        ("call-id : \ta1@h\r\n\r\n", Some("a1@h")),
        ("Call-ID:\r\n a1@h\r\n", Some("a1@h")),
        ("Call-ID:\r\na1@h\r\n", None),
        ("info: z\r\ni:a1@h\r\n", Some("a1@h")),
        ("\r\nCall-ID: a1@h\r\n", Some("a1@h")),
        ("Call-ID: a1\r\n", Some("a1")),
        ("Call-ID: A-Z.az_09!%*+`'~()<>:\\\"/[]?{}@h\r", Some("A-Z.az_09!%*+`'~()<>:\\\"/[]?{}@h")),
        ("No-Call: a1@h\r\n\r\n", None),
        ("Call-IDx: q@h\r\nCall-ID: a1@h\r\n", None),
        ("i9: a1@h\r\n", None),
        ("Call-ID: a1@h", None),
        ("Call-ID: a1@\r\n", None),
        ("Call-ID: @h\r\n", None),
        ("Call-ID: a1@h \r\n", None),
        ("Call-ID: a1@h@x\r\n", None),
        ("Call-ID: a/b;c\r\n", None),
        ("Call-ID: \u{e4}@h\r\n", None),
        ("Call-ID: \r\n\r\n", None),
        ("Call-ID", None),
        ("", None),
        (&format!("Call-ID: {}\r\n", long[0]), Some(&*long[0])),
        (&format!("Call-ID: {}\r\n", long[1]), None),
        (&format!("{}\r\ni:a\r\n", after(2044)), Some("a")),
        (&format!("{}\r\ni:a\r\n", after(2045)), None),
    ];
    for (text, expected) in cases {
        let net = v4();
        let simulation = exchange(net, PERSISTENT);
        let server = reached(&simulation, net, 1, &format!("{INVITE}{text}"));
        let calls: Vec<_> = templates(&simulation).iter().filter_map(|t| simulation.call_of(t)).collect();
        assert_eq!(calls, Vec::from_iter(expected), "{text:?}");
        assert_eq!(server.is_some(), expected.is_some(), "{text:?}");
        assert_eq!(simulation.events(Event::NoCallId), expected.is_none() as u32, "{text:?}");
    }
    // The first line is no header.
    let simulation = exchange(v4(), PERSISTENT);
    assert_eq!(reached(&simulation, v4(), 1, "Call-ID: a1@h\r\n\r\n"), None);
}

#[test]
fn what_is_not_udp_has_no_call() {
    let net = v4();
    let mut simulation = Simulation::new(1 << 10, 1);
    let service = simulation.add_service(TCP, net.vip, Scheduler::RoundRobin);
    simulation.add_destination(service, &Server::direct(net.server));
    simulation.make_persistent(service, 60, u32::MAX);
    simulation.tell_calls_apart(service);
    assert_eq!(simulation.receive(&Packet::tcp(net.client, net.vip, SYN).frame()).0, Verdict::Drop);
    assert_eq!(simulation.events(Event::NoCallId), 1);
}

#[test]
fn one_packet_scheduling_goes_by_calls_and_answers_come_back() {
    for net in [v4(), v6()] {
        let simulation = exchange(net, PERSISTENT | ONE_PACKET);
        let reached = |call| reached(&simulation, net, 1, &of_call(call)).unwrap();
        let first = reached("a");
        assert_ne!(reached("b"), first);
        for _ in 0..3 {
            // Each message puts the end of its call's template off.
            simulation.advance(40);
            assert_eq!(reached("a"), first);
            let answer = message(server(net, first), net.client, &of_call("a")).frame();
            let (verdict, frame) = simulation.receive_from(SERVER_SIDE, &answer);
            assert_eq!(verdict, Verdict::Redirect(CLIENT_SIDE));
            let sent = sound(&frame);
            assert_eq!(ends(&sent), (net.vip, net.client));
        }
        let all = simulation.connections();
        assert!(all.iter().all(|c| c.template), "{all:?}");
        let live: Vec<_> = all.iter().filter(|c| c.left > 0).map(|c| (c.server, c.state)).collect();
        assert_eq!(live, [(first.into(), "ASSURED")]);
        simulation.audit().unwrap();
    }
}

#[test]
fn a_real_server_starts_a_call() {
    for net in [v4(), v6()] {
        for flags in [PERSISTENT, PERSISTENT | ONE_PACKET, 0, ONE_PACKET] {
            let simulation = exchange(net, flags);
            let send = |n, text: &str| {
                let frame = message(server(net, n), net.client, text).frame();
                let (verdict, frame) = simulation.receive_from(SERVER_SIDE, &frame);
                (verdict, sound(&frame))
            };
            for n in [0, 1, 0] {
                let (verdict, sent) = send(n, &of_call(&format!("call{n}")));
                assert_eq!(verdict, Verdict::Redirect(CLIENT_SIDE));
                assert_eq!(ends(&sent), (net.vip, net.client), "{flags}");
            }
            if flags & PERSISTENT != 0 {
                for (port, n) in [(1, 1), (2, 0), (3, 0), (4, 1)] {
                    let text = of_call(&format!("call{n}"));
                    assert_eq!(reached(&simulation, net, port, &text), Some(n), "{flags}");
                }
                let (verdict, sent) = send(1, "no call");
                if flags & ONE_PACKET != 0 {
                    assert_eq!(verdict, Verdict::Pass, "none of ours");
                    assert_eq!(ends(&sent).0, server(net, 1));
                    // The call has moved.
                    send(0, &of_call("call1"));
                    assert_eq!(reached(&simulation, net, 5, &of_call("call1")), Some(0));
                }
            }
            simulation.audit().unwrap();
        }
    }
}

#[test]
fn what_a_real_server_sends_from_other_ports_or_protocols_is_its_own() {
    let net = v4();
    let simulation = exchange(net, PERSISTENT);
    passes_untouched(&simulation, &message(server(net, 9), net.client, &of_call("a")).frame());
    passes_untouched(&simulation, &Packet::tcp(server(net, 0), net.client, SYN).frame());
}

#[test]
fn a_client_without_a_way_gets_nothing_from_a_real_server() {
    let net = v4();
    let simulation = exchange(net, PERSISTENT);
    let nobody = at("10.99.0.1:5060");
    let frame = message(server(net, 0), nobody, &of_call("a")).frame();
    assert_eq!(simulation.receive_from(SERVER_SIDE, &frame).0, Verdict::Drop);
    assert_eq!(simulation.events(Event::Unresolved), 1);
    simulation.audit().unwrap();
}
