//! `cache_bypass`: what a mark's service has no destination for goes where it was going.

use crate::fixture::*;
use rlvs_packet::protocol::TCP;
use rlvs_packet::tcp::{ACK, FIN, SYN};
use rlvs_switch::counters::Event;
use rlvs_switch::destination::Hop;
use rlvs_switch::mark::Rule;
use rlvs_switch::scheduler::Scheduler;
use rlvs_switch::simulation::{DIRECTOR_MAC, Packet, SERVER_SIDE, Server, Simulation};
use rlvs_switch::{Memory, Verdict, order};

/// Where the kernel would send packets to.
const BEYOND: [u8; 6] = [2, 0, 0, 0, 9, 9];

/// A director with a service of a mark for all packets of this family, without destinations, and a route to where they go.
fn marking(net: Net) -> (Simulation, u32) {
    let mut simulation = Simulation::new(1 << 10, 1);
    let family = if net.vip.is_ipv4() { 4 } else { 6 };
    let service = simulation.add_mark_service(7, family, Scheduler::RoundRobin);
    simulation.set_mark_rules(&[Rule { mark: 7, ..Rule::default() }]);
    simulation.set_route(net.vip.ip(), Hop::new(SERVER_SIDE, BEYOND, DIRECTOR_MAC, 0));
    simulation.config().unwrap().settings.cache_bypass.store(1, order::PLAIN);
    (simulation, service)
}

#[test]
fn packets_without_a_destination_go_where_they_were_going() {
    for net in [v4(), v6()] {
        let (mut simulation, service) = marking(net);
        for packet in [Packet::tcp(net.client, net.vip, SYN), Packet::udp(net.client, net.vip)] {
            let sent = to_server(&simulation, &packet);
            let (ip, ports) = (sent.inner(), sent.ports());
            assert_eq!((ip.source, ip.destination), (net.client.ip(), net.vip.ip()));
            assert_eq!(ports, Some((net.client.port(), net.vip.port())));
            assert_eq!((ip.hops, sent.to, sent.from), (63, BEYOND, DIRECTOR_MAC));
        }
        assert_eq!(tcp_state(&simulation), "SYN_RECV");
        // It stays so when there are destinations again, and follows the client as far as it is seen.
        simulation.add_destination(service, &Server::direct(net.server));
        for (flags, state) in [(ACK, "ESTABLISHED"), (FIN | ACK, "FIN_WAIT")] {
            let sent = to_server(&simulation, &Packet::tcp(net.client, net.vip, flags));
            assert_eq!(sent.to, BEYOND);
            assert_eq!(tcp_state(&simulation), state);
        }
        simulation.audit().unwrap();
        simulation.advance(301);
        assert_eq!(simulation.sweep(), 2);
        let sent = to_server(&simulation, &Packet::udp(net.client, net.vip));
        assert_ne!(sent.to, BEYOND, "a connection to the destination");
    }
}

#[test]
fn what_the_kernel_has_no_way_for_yet_is_left_to_it() {
    let net = v4();
    let (simulation, _) = marking(net);
    let packet = Packet::udp(net.client, at("10.77.0.1:53"));
    passes_untouched(&simulation, &packet.frame());
    assert_eq!(simulation.connections().len(), 1);
    let last_hop = Packet { hops: 1, ..Packet::udp(net.client, net.vip) };
    assert_eq!(simulation.receive(&last_hop.frame()).0, Verdict::Transmit, "an ICMP error");
    assert_eq!(simulation.events(Event::TimeExceeded), 1);
}

#[test]
fn the_directors_own_addresses_are_refused_and_so_is_everything_by_default() {
    for net in [v4(), v6()] {
        let (mut simulation, _) = marking(net);
        let frame = Packet::udp(net.client, net.vip).frame();
        simulation.config().unwrap().settings.cache_bypass.store(0, order::PLAIN);
        assert_eq!(simulation.receive(&frame).0, Verdict::Transmit, "port unreachable");
        simulation.config().unwrap().settings.cache_bypass.store(1, order::PLAIN);
        simulation.add_own_address(net.vip.ip());
        assert_eq!(simulation.receive(&frame).0, Verdict::Transmit, "port unreachable");
        assert_eq!(simulation.events(Event::NoDestination), 2);
        assert!(simulation.connections().is_empty());
    }
}

/// The only TCP connection's.
fn tcp_state(simulation: &Simulation) -> &'static str {
    simulation.connections().iter().find(|c| c.protocol == TCP).unwrap().state
}
