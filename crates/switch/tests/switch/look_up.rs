//! Which service a packet belongs to: its mark's, its port's, an FTP service's, or that for all ports.

use crate::fixture::*;
use proptest::prelude::*;
use rlvs_packet::protocol::{TCP, UDP};
use rlvs_packet::tcp::{ACK, SYN};
use rlvs_switch::counters::Event;
use rlvs_switch::mark::{Prefix, RULES_MAX, Rule, family_bit};
use rlvs_switch::scheduler::Scheduler;
use rlvs_switch::simulation::{CLIENT_SIDE, Packet, SERVER_SIDE, Server, Simulation};
use rlvs_switch::{Memory, Verdict, order};
use std::net::{IpAddr, SocketAddr};

fn with_port(address: SocketAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address.ip(), port)
}

/// A rule for all TCP packets of both families.
fn tcp(mark: u32) -> Rule {
    Rule { mark, protocol: Some(TCP), ..Rule::default() }
}

/// A host's address as a rule has it.
fn host(address: IpAddr) -> Prefix {
    prefix(address, if address.is_ipv4() { 32 } else { 128 })
}

fn prefix(address: IpAddr, length: u32) -> Prefix {
    let (octets, size) = match address {
        IpAddr::V4(address) => ([address.octets().to_vec(), vec![0; 12]].concat(), 32),
        IpAddr::V6(address) => (address.octets().to_vec(), 128),
    };
    assert!(length <= size);
    let mask: Vec<u8> =
        (0..16).map(|i| ((0xff00u32 >> (length.saturating_sub(8 * i).min(8))) & 0xff) as u8).collect();
    let words = |octets: &[u8]| {
        std::array::from_fn(|i| u32::from_ne_bytes(octets[4 * i..4 * i + 4].try_into().unwrap()))
    };
    let kept: Vec<u8> = octets.iter().zip(&mask).map(|(octet, mask)| octet & mask).collect();
    Prefix { address: words(&kept), mask: words(&mask) }
}

/// A director with the service of mark 5, whose destination is the net's server.
fn marking(net: Net, rules: &[Rule]) -> Simulation {
    let mut simulation = Simulation::new(1 << 10, 1);
    let family = if net.vip.is_ipv4() { 4 } else { 6 };
    let service = simulation.add_mark_service(5, family, Scheduler::RoundRobin);
    simulation.add_destination(service, &Server::nat(with_port(net.server, 0)));
    simulation.set_mark_rules(rules);
    simulation
}

#[test]
fn a_marks_service_takes_any_address_port_and_protocol_and_keeps_the_port() {
    for net in [v4(), v6()] {
        let simulation = marking(net, &[Rule { mark: 5, ..Rule::default() }]);
        for port in [80, 443, 9999] {
            let vip = with_port(net.vip, port);
            for packet in [Packet::tcp(net.client, vip, SYN), Packet::udp(net.client, vip)] {
                let out = to_server(&simulation, &packet);
                assert_eq!(out.inner().destination, net.server.ip());
                assert_eq!(out.ports(), Some((net.client.port(), port)));
            }
            // The reply has the address that the client asked.
            let reply = Packet::tcp(with_port(net.server, port), net.client, SYN | ACK);
            let (verdict, frame) = simulation.receive_from(SERVER_SIDE, &reply.frame());
            assert_eq!(verdict, Verdict::Redirect(CLIENT_SIDE));
            let out = sound(&frame);
            assert_eq!((out.inner().source, out.ports()), (net.vip.ip(), Some((port, net.client.port()))));
        }
        simulation.audit().unwrap();
    }
}

#[test]
fn a_destinations_own_port_replaces_that_of_all_marked_packets() {
    for net in [v4(), v6()] {
        let mut simulation = Simulation::new(1 << 10, 1);
        let family = if net.vip.is_ipv4() { 4 } else { 6 };
        let service = simulation.add_mark_service(5, family, Scheduler::RoundRobin);
        simulation.add_destination(service, &Server::nat(net.server));
        simulation.set_mark_rules(&[tcp(5)]);
        for port in [80, 443] {
            let out = to_server(&simulation, &Packet::tcp(net.client, with_port(net.vip, port), SYN));
            assert_eq!(out.ports(), Some((net.client.port(), net.server.port())));
        }
    }
}

#[test]
fn the_services_of_a_mark_are_apart_by_family() {
    let simulation = marking(v4(), &[tcp(5)]);
    to_server(&simulation, &Packet::tcp(v4().client, v4().vip, SYN));
    passes_untouched(&simulation, &Packet::tcp(v6().client, v6().vip, SYN).frame());
}

#[test]
fn the_marks_service_comes_before_the_ports() {
    for net in [v4(), v6()] {
        let mut simulation = marking(net, &[tcp(5)]);
        let other = simulation.add_service(TCP, net.vip, Scheduler::RoundRobin);
        let server = simulation.add_destination(other, &Server::direct(net.server));
        to_server(&simulation, &Packet::tcp(net.client, net.vip, SYN));
        assert_eq!(simulation.connections_of(server), (0, 0));
    }
}

#[test]
fn a_mark_without_a_service_changes_nothing() {
    for net in [v4(), v6()] {
        let mut simulation = marking(net, &[tcp(6)]);
        passes_untouched(&simulation, &Packet::tcp(net.client, net.vip, SYN).frame());
        let service = simulation.add_service(TCP, net.vip, Scheduler::RoundRobin);
        let server = simulation.add_destination(service, &Server::direct(net.server));
        to_server(&simulation, &Packet::tcp(net.client, net.vip, SYN));
        assert_eq!(simulation.connections_of(server), (1, 0));
    }
}

#[test]
fn packets_that_no_rule_marks_pass() {
    for net in [v4(), v6()] {
        let simulation = marking(net, &[Rule { destination: host(net.server.ip()), ..tcp(5) }]);
        passes_untouched(&simulation, &Packet::tcp(net.client, net.vip, SYN).frame());
        passes_untouched(&simulation, &Packet::tcp(net.client, net.vip, ACK).frame());
        assert_eq!(simulation.connections(), vec![]);
    }
}

#[test]
fn the_first_rule_that_matches_decides() {
    let net = v4();
    let to_80 = Rule { destination_ports: (80, 80), ..tcp(0) };
    let simulation = marking(net, &[to_80, tcp(5)]);
    passes_untouched(&simulation, &Packet::tcp(net.client, net.vip, SYN).frame());
    to_server(&simulation, &Packet::tcp(net.client, with_port(net.vip, 81), SYN));
    let simulation = marking(net, &[tcp(5), to_80]);
    to_server(&simulation, &Packet::tcp(net.client, net.vip, SYN));
}

#[test]
fn the_last_of_the_most_rules_is_reached() {
    for net in [v4(), v6()] {
        let mut rules = vec![Rule { destination_ports: (1, 1), ..tcp(6) }; RULES_MAX as usize];
        rules[RULES_MAX as usize - 1] = tcp(5);
        let mut simulation = marking(net, &rules);
        to_server(&simulation, &Packet::tcp(net.client, net.vip, SYN));
        // The other of the two lists.
        simulation.set_mark_rules(&rules);
        to_server(&simulation, &Packet::tcp(net.client, with_port(net.vip, 81), SYN));
        simulation.set_mark_rules(&[]);
        passes_untouched(&simulation, &Packet::tcp(net.client, with_port(net.vip, 82), SYN).frame());
    }
}

#[test]
fn a_service_without_destinations_is_an_unreachable_port_by_its_mark_too() {
    for net in [v4(), v6()] {
        let mut simulation = Simulation::new(1 << 10, 1);
        simulation.add_mark_service(5, if net.vip.is_ipv4() { 4 } else { 6 }, Scheduler::RoundRobin);
        simulation.set_mark_rules(&[tcp(5)]);
        let (verdict, _) = simulation.receive(&Packet::tcp(net.client, net.vip, SYN).frame());
        assert_eq!((verdict, simulation.events(Event::NoDestination)), (Verdict::Transmit, 1));
    }
}

#[test]
fn an_ftp_service_leaves_other_ports_alone_unless_it_is_persistent() {
    for net in [v4(), v6()] {
        let mut simulation = Simulation::new(1 << 10, 1);
        let service = simulation.add_service(TCP, with_port(net.vip, 21), Scheduler::RoundRobin);
        simulation.add_destination(service, &Server::nat(net.server));
        to_server(&simulation, &Packet::tcp(net.client, with_port(net.vip, 21), SYN));
        for port in [20, 22, 1023, 1024, 50_000] {
            let data = Packet::tcp(net.client, with_port(net.vip, port), SYN).frame();
            passes_untouched(&simulation, &data);
            passes_untouched(&simulation, &Packet::udp(net.client, with_port(net.vip, port)).frame());
        }
        assert_eq!(simulation.events(Event::NoDestination), 0);
    }
}

/// The FTP service is asked before that for all ports, so its ports are passed and others refused.
#[test]
fn ftp_takes_port_20_and_unprivileged_ports() {
    for net in [v4(), v6()] {
        let mut simulation = Simulation::new(1 << 10, 1);
        for port in [0, 21] {
            let service = simulation.add_service(TCP, with_port(net.vip, port), Scheduler::RoundRobin);
            simulation.add_destination(service, &Server::nat(net.server));
        }
        let verdict = |simulation: &Simulation, port| {
            simulation.receive(&Packet::tcp(net.client, with_port(net.vip, port), SYN).frame()).0
        };
        for port in [20, 1024, u16::MAX] {
            assert_eq!(verdict(&simulation, port), Verdict::Pass, "{port}");
        }
        for port in [19, 22, 1023] {
            assert_eq!(verdict(&simulation, port), Verdict::Transmit, "{port}");
        }
        simulation.config().unwrap().unprivileged_port_start.store(80, order::PLAIN);
        assert_eq!((verdict(&simulation, 79), verdict(&simulation, 80)), (Verdict::Transmit, Verdict::Pass));
    }
}

#[test]
fn a_service_for_all_ports_that_is_not_persistent_is_an_unreachable_port() {
    for net in [v4(), v6()] {
        let mut simulation = Simulation::new(1 << 10, 1);
        for (protocol, port) in [(TCP, 0), (TCP, 80)] {
            let service = simulation.add_service(protocol, with_port(net.vip, port), Scheduler::RoundRobin);
            simulation.add_destination(service, &Server::nat(net.server));
        }
        to_server(&simulation, &Packet::tcp(net.client, net.vip, SYN));
        let (verdict, _) = simulation.receive(&Packet::tcp(net.client, with_port(net.vip, 81), SYN).frame());
        assert_eq!((verdict, simulation.events(Event::NoDestination)), (Verdict::Transmit, 1));
        passes_untouched(&simulation, &Packet::udp(net.client, with_port(net.vip, 81)).frame());
    }
}

/// A client goes on from the port of a connection whose server was deleted: its mark is found again.
#[test]
fn a_deleted_servers_client_is_scheduled_anew_by_its_mark() {
    let net = v4();
    let mut simulation = marking(net, &[tcp(5)]);
    to_server(&simulation, &Packet::tcp(net.client, net.vip, SYN));
    let other = simulation.add_destination(0, &Server::nat(at("10.2.0.2:0")));
    simulation.remove_destination(0, 0);
    to_server(&simulation, &Packet::tcp(net.client, net.vip, SYN));
    assert_eq!(simulation.connections_of(other), (1, 0));
}

prop_compose! {
    fn rules()(
        families in 1u32..4,
        protocol in prop_oneof![Just(None), Just(Some(TCP)), Just(Some(UDP))],
        interface in prop_oneof![Just(None), Just(Some(CLIENT_SIDE)), Just(Some(SERVER_SIDE))],
        lengths in [0u32..33, 0..33],
        hosts in [0u8..4, 0..4],
        source_ports in (0u16..6, 0u16..6),
        destination_ports in (0u16..6, 0u16..6),
    ) -> (Rule, [(IpAddr, u32); 2]) {
        let sides = [0, 1].map(|i| (IpAddr::from([10, 0, 0, hosts[i]]), lengths[i]));
        let [source, destination] = sides.map(|(address, length)| prefix(address, length));
        let rule = Rule {
            mark: 5, families, protocol, interface, source, destination, source_ports, destination_ports,
        };
        (rule, sides)
    }
}

proptest! {
    #[test]
    fn a_rule_matches_what_it_says(
        (rule, sides) in rules(),
        hosts in [0u8..4, 0..4],
        ports in [1u16..6, 1..6],
        is_tcp in any::<bool>(),
        interface in CLIENT_SIDE..=SERVER_SIDE,
    ) {
        let simulation = marking(v4(), &[rule]);
        let [source, destination] = [0, 1].map(|i| SocketAddr::new([10, 0, 0, hosts[i]].into(), ports[i]));
        let packet =
            if is_tcp { Packet::tcp(source, destination, SYN) } else { Packet::udp(source, destination) };
        let marked = simulation.receive_from(interface, &packet.frame()).0 != Verdict::Pass;
        let within = |(address, length): (IpAddr, u32), packet: SocketAddr| {
            let number = |address| match address {
                IpAddr::V4(address) => u64::from(u32::from(address)),
                IpAddr::V6(_) => unreachable!(),
            };
            number(address) >> (32 - length) == number(packet.ip()) >> (32 - length)
        };
        let expected = rule.families & family_bit(4) != 0
            && rule.protocol.is_none_or(|protocol| protocol == packet.protocol)
            && rule.interface.is_none_or(|wanted| wanted == interface)
            && within(sides[0], source)
            && within(sides[1], destination)
            && (rule.source_ports.0..=rule.source_ports.1).contains(&ports[0])
            && (rule.destination_ports.0..=rule.destination_ports.1).contains(&ports[1]);
        prop_assert_eq!(marked, expected);
    }
}
