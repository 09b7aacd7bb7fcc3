//! Persistence, one-packet scheduling, and the settings that decide what becomes of a connection.

use crate::fixture::*;
use rlvs_packet::protocol::{TCP, UDP};
use rlvs_packet::tcp::{ACK, FIN, RST, SYN};
use rlvs_switch::cell::AtomicU32;
use rlvs_switch::config::Settings;
use rlvs_switch::mark::Rule;
use rlvs_switch::scheduler::Scheduler;
use rlvs_switch::simulation::{Connection, Packet, SERVER_SIDE, Server, Simulation};
use rlvs_switch::{Memory, Verdict, order};
use std::net::{IpAddr, SocketAddr};

/// Three servers by direct routing behind a service on this port (0: all), persistent for 300 seconds by a /24 or /64.
fn persistent(net: Net, port: u16) -> (Simulation, u32) {
    let mut simulation = Simulation::new(1 << 10, 1);
    let service = simulation.add_service(TCP, SocketAddr::new(net.vip.ip(), port), Scheduler::RoundRobin);
    for _ in 0..3 {
        simulation.add_destination(service, &Server::direct(net.server));
    }
    let netmask = if net.vip.is_ipv4() { u32::from_ne_bytes([255, 255, 255, 0]) } else { 64 };
    simulation.make_persistent(service, 300, netmask);
    (simulation, service)
}

/// The client with another last octet and port.
fn neighbour(client: SocketAddr, last: u8, port: u16) -> SocketAddr {
    let ip = match client.ip() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            IpAddr::from([a, b, c, last])
        }
        IpAddr::V6(ip) => {
            let mut octets = ip.octets();
            octets[15] = last;
            IpAddr::from(octets)
        }
    };
    SocketAddr::new(ip, port)
}

fn open(simulation: &Simulation, from: SocketAddr, to: SocketAddr) -> u32 {
    let (verdict, _) = simulation.receive(&Packet::tcp(from, to, SYN).frame());
    assert_eq!(verdict, Verdict::Redirect(SERVER_SIDE), "{from} to {to}");
    entry(simulation, from).server
}

fn entry(simulation: &Simulation, from: SocketAddr) -> Connection {
    let mut all = simulation.connections().into_iter();
    all.find(|c| c.source == from && !c.reply && !c.template).unwrap()
}

fn templates(simulation: &Simulation) -> Vec<Connection> {
    simulation.connections().into_iter().filter(|c| c.template).collect()
}

fn set(simulation: &Simulation, setting: impl FnOnce(&Settings) -> &AtomicU32, value: u32) {
    setting(&simulation.config().unwrap().settings).store(value, order::PLAIN);
}

#[test]
fn a_network_s_clients_share_a_template_and_a_server() {
    for net in [v4(), v6()] {
        let (simulation, _) = persistent(net, net.vip.port());
        let first = open(&simulation, neighbour(net.client, 1, 1000), net.vip);
        for last in 2..20 {
            assert_eq!(open(&simulation, neighbour(net.client, last, 2000), net.vip), first);
        }
        let [template] = &templates(&simulation)[..] else { panic!("{:?}", templates(&simulation)) };
        assert_eq!((template.server, template.source), (first, neighbour(net.client, 0, 0)));
        assert_eq!(template.destination, net.vip);
        simulation.audit().unwrap();
        // 19 connections, and the template is not one of them.
        assert_eq!(simulation.connections_of(first), (19, 0));
    }
}

#[test]
fn another_network_is_scheduled_for_itself() {
    let net = v4();
    let (simulation, _) = persistent(net, net.vip.port());
    let servers: Vec<u32> =
        (1..=3).map(|n| open(&simulation, at(&format!("10.9.{n}.1:5000")), net.vip)).collect();
    assert_eq!(servers, [2, 1, 0], "round robin over the newest first");
}

#[test]
fn a_service_for_all_ports_groups_them_and_leaves_them_as_they_are() {
    let net = v4();
    let (mut simulation, service) = persistent(net, 0);
    simulation.add_destination(service, &Server::nat(net.server));
    let to = |port| SocketAddr::new(net.vip.ip(), port);
    // The look-up that finds a service for all ports is the director's to switch on.
    if simulation.receive(&Packet::tcp(net.client, to(443), SYN).frame()).0 == Verdict::Pass {
        return;
    }
    let first = entry(&simulation, net.client).server;
    assert_eq!(open(&simulation, neighbour(net.client, 9, 1), to(8443)), first);
}

/// FTP without a helper: whatever the client opens next leads to the server of its control connection.
#[test]
fn data_connections_of_a_persistent_ftp_service_follow_the_control_connection() {
    for net in [v4(), v6()] {
        let (simulation, _) = persistent(net, 21);
        let vip = |port| SocketAddr::new(net.vip.ip(), port);
        let server = open(&simulation, neighbour(net.client, 9, 1), vip(21));
        for (n, port) in [(2, 50_000), (3, 20), (4, 21)] {
            assert_eq!(open(&simulation, neighbour(net.client, 9, n), vip(port)), server, "{port}");
        }
        passes_untouched(&simulation, &Packet::tcp(neighbour(net.client, 9, 5), vip(1023), SYN).frame());
        assert_eq!(templates(&simulation).len(), 1);
    }
}

#[test]
fn the_ports_and_protocols_of_a_mark_share_a_template() {
    for net in [v4(), v6()] {
        let mut simulation = Simulation::new(1 << 10, 1);
        let (family, netmask) = if net.vip.is_ipv4() { (4, u32::MAX) } else { (6, 128) };
        let service = simulation.add_mark_service(7, family, Scheduler::RoundRobin);
        for _ in 0..3 {
            simulation.add_destination(service, &Server::nat(SocketAddr::new(net.server.ip(), 8080)));
        }
        simulation.make_persistent(service, 300, netmask);
        simulation.set_mark_rules(&[Rule { mark: 7, ..Rule::default() }]);

        let vip = |port| SocketAddr::new(net.vip.ip(), port);
        let server = open(&simulation, neighbour(net.client, 9, 1), vip(80));
        assert_eq!(open(&simulation, neighbour(net.client, 9, 2), vip(443)), server);
        // Ports stay as they are, unlike without persistence.
        let out = to_server(&simulation, &Packet::udp(neighbour(net.client, 9, 3), vip(53)));
        assert_eq!(out.ports().unwrap().1, 53);
        assert_eq!(entry(&simulation, neighbour(net.client, 9, 3)).server, server);
        assert_eq!(templates(&simulation).len(), 1);
        assert_ne!(open(&simulation, neighbour(net.client, 8, 1), vip(80)), server);
    }
}

#[test]
fn a_template_outlives_its_time_while_its_connections_live() {
    let net = v4();
    let (simulation, _) = persistent(net, net.vip.port());
    open(&simulation, net.client, net.vip);
    // Established: 900 seconds.
    simulation.receive(&Packet::tcp(net.client, net.vip, ACK).frame());
    simulation.advance(301);
    assert_eq!(simulation.sweep(), 0);
    let template = &templates(&simulation)[0];
    assert_eq!(template.state, "ASSURED");
    assert!(template.left > 0, "put off by a minute: {template:?}");
    simulation.advance(600);
    assert_eq!(simulation.sweep(), 1, "the connection");
    simulation.advance(61);
    assert_eq!(simulation.sweep(), 1, "the template, which controls nothing any more");
    assert_eq!(simulation.connections(), vec![]);
    simulation.audit().unwrap();
}

#[test]
fn a_template_ends_its_time_after_its_last_new_connection() {
    let net = v6();
    let (simulation, _) = persistent(net, net.vip.port());
    let first = open(&simulation, net.client, net.vip);
    simulation.advance(200);
    simulation.sweep();
    assert_eq!(open(&simulation, neighbour(net.client, 8, 1), net.vip), first);
    simulation.advance(299);
    simulation.sweep();
    assert_eq!(templates(&simulation).len(), 1);
    simulation.advance(2);
    simulation.sweep();
    assert_eq!(templates(&simulation), vec![]);
    assert_ne!(open(&simulation, net.client, net.vip), first);
    simulation.audit().unwrap();
}

#[test]
fn a_quiescent_server_keeps_its_clients_unless_told_otherwise() {
    let net = v4();
    let (mut simulation, service) = persistent(net, net.vip.port());
    let first = open(&simulation, net.client, net.vip);
    simulation.set_weight(service, first, 0);
    assert_eq!(open(&simulation, neighbour(net.client, 2, 1), net.vip), first);
    set(&simulation, |s| &s.expire_quiescent_template, 1);
    let second = open(&simulation, neighbour(net.client, 3, 1), net.vip);
    assert_ne!(second, first);
    assert_eq!(open(&simulation, neighbour(net.client, 4, 1), net.vip), second);
    // The old template is nobody's, and goes with its connections.
    assert_eq!(templates(&simulation).len(), 2);
    simulation.audit().unwrap();
    simulation.advance(1000);
    simulation.sweep();
    simulation.advance(100);
    simulation.sweep();
    assert_eq!(simulation.connections(), vec![]);
    simulation.audit().unwrap();
}

#[test]
fn an_overloaded_server_keeps_its_clients() {
    for net in [v4(), v6()] {
        let (mut simulation, _) = persistent(net, net.vip.port());
        let server = open(&simulation, net.client, net.vip);
        simulation.destination_mut(server).upper.store(1, order::PLAIN);
        simulation.destination_mut(server).overload.store(1, order::PLAIN);
        for port in 1..4 {
            assert_eq!(open(&simulation, neighbour(net.client, 8, port), net.vip), server);
        }
        simulation.audit().unwrap();
    }
}

#[test]
fn a_deleted_server_s_template_binds_nobody() {
    let net = v4();
    let (mut simulation, service) = persistent(net, net.vip.port());
    let first = open(&simulation, net.client, net.vip);
    simulation.remove_destination(service, first);
    let second = open(&simulation, neighbour(net.client, 2, 1), net.vip);
    assert_ne!(second, first);
    simulation.audit().unwrap();
}

#[test]
fn datagrams_of_a_one_packet_service_are_scheduled_one_by_one() {
    for net in [v4(), v6()] {
        for server in [Server::nat(net.server), Server::direct(net.server), Server::tunnel(net.server)] {
            let mut simulation = Simulation::new(1 << 10, 1);
            let service = simulation.add_service(UDP, net.vip, Scheduler::RoundRobin);
            for _ in 0..2 {
                simulation.add_destination(service, &server);
            }
            simulation.schedule_each_packet(service);
            for _ in 0..3 {
                to_server(&simulation, &Packet::udp(net.client, net.vip));
            }
            assert_eq!(simulation.connections(), vec![]);
            let counted = [0, 1].map(|index| {
                let counters = simulation.counters(0, index).unwrap();
                (counters.connections.load(order::PLAIN), counters.packets_in.load(order::PLAIN))
            });
            assert_eq!(counted, [(1, 1), (2, 2)], "newest first: B A B");
        }
    }
}

#[test]
fn conn_reuse_mode_decides_which_connections_a_syn_opens_anew() {
    // Direct routing: closed connections are FIN_WAIT, reset ones CLOSE.
    for (mode, last, anew) in [
        (1, RST, true),
        (0, RST, false),
        (1, FIN | ACK, false),
        (2, FIN | ACK, true),
        (3, FIN | ACK, true),
        (0, FIN | ACK, false),
    ] {
        let net = v4();
        let mut simulation = Simulation::new(1 << 10, 1);
        let service = simulation.add_service(TCP, net.vip, Scheduler::RoundRobin);
        for _ in 0..2 {
            simulation.add_destination(service, &Server::direct(net.server));
        }
        set(&simulation, |s| &s.conn_reuse_mode, mode);
        let first = open(&simulation, net.client, net.vip);
        for flags in [ACK, last] {
            simulation.receive(&Packet::tcp(net.client, net.vip, flags).frame());
        }
        assert_eq!(open(&simulation, net.client, net.vip) != first, anew, "mode {mode}, {last:#x}");
        simulation.audit().unwrap();
    }
}

#[test]
fn expire_nodest_conn_ends_connections_of_deleted_and_quiescent_servers() {
    let net = v4();
    let mut simulation = Simulation::new(1 << 10, 1);
    let service = simulation.add_service(TCP, net.vip, Scheduler::RoundRobin);
    for _ in 0..2 {
        simulation.add_destination(service, &Server::direct(net.server));
    }
    set(&simulation, |s| &s.expire_nodest_conn, 1);
    let first = open(&simulation, net.client, net.vip);
    simulation.set_weight(service, first, 0);
    let second = open(&simulation, net.client, net.vip);
    assert_ne!(second, first, "a SYN to a server of weight 0");
    simulation.remove_destination(service, second);
    let ack = Packet::tcp(net.client, net.vip, ACK).frame();
    assert_eq!(simulation.receive(&ack).0, Verdict::Pass, "the kernel resets it");
    assert_eq!(simulation.connections(), vec![]);
    simulation.audit().unwrap();
}

#[test]
fn sloppy_tcp_opens_connections_with_any_packet_but_a_reset() {
    let net = v4();
    let simulation = director(net, &Server::direct(net.server));
    let send = |flags| simulation.receive(&Packet::tcp(net.client, net.vip, flags).frame()).0;
    assert_eq!(send(ACK), Verdict::Pass);
    set(&simulation, |s| &s.sloppy_tcp, 1);
    assert_eq!(send(RST), Verdict::Pass);
    assert_eq!(send(ACK), Verdict::Redirect(SERVER_SIDE));
    assert_eq!(simulation.state_of(net.client, net.vip), Some("ESTABLISHED"));
}
