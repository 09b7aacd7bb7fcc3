//! The director itself as real server of NAT, and what of its own packets is for the switch.

use crate::fixture::*;
use rlvs_packet::protocol::{TCP, UDP};
use rlvs_packet::tcp::{ACK, SYN};
use rlvs_switch::destination::{Egress, Hop};
use rlvs_switch::mark::Rule;
use rlvs_switch::scheduler::Scheduler;
use rlvs_switch::simulation::{CLIENT_SIDE, Cpu, Packet, SERVER_SIDE, Server, Simulation, icmp_error};
use rlvs_switch::steps::local_out;
use rlvs_switch::{Memory, Verdict, order};

/// A director that is its services' server itself.
fn serving(net: Net) -> Simulation {
    director(net, &Server { hop: Hop::new(Egress::HERE, [0; 6], [0; 6], 0), ..Server::nat(net.server) })
}

/// Whether a frame that the director is about to send is the switch's.
fn is_ours(simulation: &Simulation, frame: &[u8]) -> bool {
    local_out(&Cpu::new(simulation, 0, 0, frame))
}

#[test]
fn a_server_on_the_director_gets_the_packet_at_its_address() {
    for net in [v4(), v6()] {
        let simulation = serving(net);
        for request in [Packet::tcp(net.client, net.vip, SYN), Packet::udp(net.client, net.vip)] {
            let (verdict, frame) = simulation.receive(&request.frame());
            assert_eq!(verdict, Verdict::Pass);
            let got = sound(&frame);
            assert_eq!((got.inner().source, got.inner().destination), (net.client.ip(), net.server.ip()));
            assert_eq!(got.ports(), Some((net.client.port(), net.server.port())));
            assert_eq!(got.to, request.macs[0], "it is for this machine as before");
            assert_eq!(got.inner().hops, request.hops, "it has arrived");

            // Its answer starts here; one of another machine would be passed on.
            let (source, destination) = (net.server, net.client);
            let reply = Packet { source, destination, flags: SYN | ACK, ..request.clone() };
            for (local_in, hops) in [(SERVER_SIDE, 64), (0, 63)] {
                simulation.config().unwrap().local_in.store(local_in, order::PLAIN);
                let (verdict, frame) = simulation.receive_from(SERVER_SIDE, &reply.frame());
                assert_eq!(verdict, Verdict::Redirect(CLIENT_SIDE));
                assert_eq!(sound(&frame).inner().hops, hops);
            }
        }
        simulation.audit().unwrap();
    }
}

#[test]
fn a_packet_on_its_last_hop_has_arrived_at_a_server_on_the_director() {
    let net = v4();
    let last = Packet { hops: 1, ..Packet::tcp(net.client, net.vip, SYN) };
    assert_eq!(serving(net).receive(&last.frame()).0, Verdict::Pass);
}

#[test]
fn its_answers_are_the_switchs() {
    for net in [v4(), v6()] {
        let simulation = serving(net);
        for request in [Packet::tcp(net.client, net.vip, SYN), Packet::udp(net.client, net.vip)] {
            let reply =
                Packet { source: net.server, destination: net.client, flags: SYN | ACK, ..request.clone() };
            assert!(!is_ours(&simulation, &reply.frame()), "nobody asked");
            simulation.receive(&request.frame());
            assert!(is_ours(&simulation, &reply.frame()));
            let (server, client) = (net.server.ip(), net.client.ip());
            let arrived = Packet { destination: net.server, ..request }.frame();
            let kind = if server.is_ipv4() { (3, 3) } else { (1, 4) };
            let error = icmp_error(server, client, kind, 0, &arrived[14..]);
            assert!(is_ours(&simulation, &error), "an error about the request");
        }
    }
}

#[test]
fn a_client_on_the_director_may_open_connections_with_services_only() {
    for net in [v4(), v6()] {
        let simulation = director(net, &Server::nat(net.server));
        let elsewhere = net.server;
        for (packet, expected) in [
            (Packet::tcp(net.client, net.vip, SYN), true),
            (Packet::udp(net.client, net.vip), true),
            (Packet::tcp(net.client, net.vip, ACK), false),
            (Packet::tcp(net.client, elsewhere, SYN), false),
            (Packet::udp(net.client, elsewhere), false),
        ] {
            assert_eq!(is_ours(&simulation, &packet.frame()), expected, "{packet:?}");
        }
        simulation.receive(&Packet::tcp(net.client, net.vip, SYN).frame());
        assert!(is_ours(&simulation, &Packet::tcp(net.client, net.vip, ACK).frame()));
        simulation.advance(100_000);
        assert!(!is_ours(&simulation, &Packet::tcp(net.client, net.vip, ACK).frame()));
    }
}

#[test]
fn loopback_is_left_alone() {
    for (net, loopback) in [(v4(), "127.0.0.1:20000"), (v6(), "[::1]:20000")] {
        let simulation = director(net, &Server::nat(net.server));
        let frame = Packet::tcp(at(loopback), net.vip, SYN).frame();
        assert!(!is_ours(&simulation, &frame));
    }
}

#[test]
fn fragments_follow_their_first_before_the_switch_has_seen_it() {
    for net in [v4(), v6()] {
        let simulation = director(net, &Server::nat(net.server));
        let request = Packet {
            protocol: UDP,
            payload: vec![7; 2000],
            dont_fragment: false,
            ..Packet::udp(net.client, net.vip)
        };
        let fragments = request.fragments(512);
        assert!(!is_ours(&simulation, &fragments[1]), "of a packet not known");
        for fragment in &fragments {
            assert!(is_ours(&simulation, fragment));
        }
        let other = Packet { destination: net.server, ..request };
        for fragment in other.fragments(512) {
            assert!(!is_ours(&simulation, &fragment));
        }
    }
}

#[test]
fn where_there_are_marks_the_rules_tell() {
    for net in [v4(), v6()] {
        let mut simulation = director(net, &Server::nat(net.server));
        let (packet, family) =
            (Packet::tcp(net.client, net.server, SYN), if net.vip.is_ipv4() { 4 } else { 6 });
        simulation.add_mark_service(5, family, Scheduler::RoundRobin);
        let rule = |interface| Rule { mark: 5, interface, protocol: Some(TCP), ..Rule::default() };
        for (interface, ours) in [(None, true), (Some(CLIENT_SIDE), false)] {
            simulation.set_mark_rules(&[rule(interface)]);
            let frame = packet.frame();
            assert_eq!(is_ours(&simulation, &frame), ours, "{interface:?}");
            let unmarked = Packet::udp(net.client, net.server).frame();
            assert!(!is_ours(&simulation, &unmarked));
            let by_port = Packet::udp(net.client, net.vip).frame();
            assert!(is_ours(&simulation, &by_port));
        }
    }
}
