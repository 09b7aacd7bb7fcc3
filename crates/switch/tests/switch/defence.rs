//! Defence against floods: `drop_packet` and `secure_tcp`.

use crate::fixture::*;
use rlvs_packet::tcp::{ACK, SYN};
use rlvs_switch::counters::Event;
use rlvs_switch::simulation::{Packet, Server, Simulation};
use rlvs_switch::{Memory, Verdict, order};
use std::net::SocketAddr;

fn from_port(client: SocketAddr, port: u16) -> SocketAddr {
    SocketAddr::new(client.ip(), port)
}

#[test]
fn one_in_so_many_packets_that_open_a_connection_is_dropped() {
    for net in [v4(), v6()] {
        let simulation = director(net, &Server::direct(net.server));
        to_server(&simulation, &Packet::tcp(from_port(net.client, 999), net.vip, SYN));
        simulation.config().unwrap().settings.drop_rate.store(10, order::PLAIN);
        let dropped: Vec<u16> = (1..=31)
            .filter(|number| {
                let packet = Packet::tcp(from_port(net.client, 1000 + number), net.vip, SYN);
                let (verdict, _) = simulation.receive(&packet.frame());
                // Packets of a known connection in between do not count, and are not dropped.
                to_server(&simulation, &Packet::tcp(from_port(net.client, 999), net.vip, ACK));
                verdict == Verdict::Drop
            })
            .collect();
        assert_eq!(dropped, [1, 11, 21, 31]);
        assert_eq!(simulation.events(Event::DropRate), 4);
    }
}

#[test]
fn a_rate_of_one_drops_all() {
    let net = v4();
    let simulation = director(net, &Server::direct(net.server));
    simulation.config().unwrap().settings.drop_rate.store(1, order::PLAIN);
    for port in 1000..1010 {
        let packet = Packet::tcp(from_port(net.client, port), net.vip, SYN);
        assert_eq!(simulation.receive(&packet.frame()).0, Verdict::Drop);
    }
}

/// A rate concerns services only: what is none of the switch's business passes.
#[test]
fn packets_for_no_service_are_not_dropped() {
    let net = v4();
    let simulation = director(net, &Server::direct(net.server));
    simulation.config().unwrap().settings.drop_rate.store(1, order::PLAIN);
    passes_untouched(&simulation, &Packet::tcp(net.client, at("10.1.0.200:81"), SYN).frame());
}

/// Under suspicion, with NAT, only a packet of the server after the handshake makes a connection established.
#[test]
fn the_table_against_floods_is_switched_at_once() {
    let net = v4();
    let simulation = director(net, &Server::nat(net.server));
    let state = || simulation.connections().iter().find(|c| !c.reply).unwrap().state;
    let reply = |flags| Packet::tcp(net.server, net.client, flags);
    to_server(&simulation, &Packet::tcp(net.client, net.vip, SYN));
    simulation.config().unwrap().settings.secure_tcp.store(1, order::PLAIN);
    let _to_client = simulation.receive(&reply(SYN | ACK).frame());
    assert_eq!(state(), "SYNACK");
    to_server(&simulation, &Packet::tcp(net.client, net.vip, ACK));
    assert_eq!(state(), "SYNACK");
    let _to_client = simulation.receive(&reply(ACK).frame());
    assert_eq!(state(), "ESTABLISHED");
    assert_eq!(simulation.connections_of(0), (1, 0));
}

/// Whoever watches sees as many dropped packets as it asked for, as they came in, and why they were dropped.
#[test]
fn dropped_packets_are_shown_while_somebody_watches() {
    let net = v4();
    let mut simulation = director(net, &Server::direct(net.server));
    let packet = Packet::tcp(net.client, net.vip, SYN);
    let last_hop = Packet { hops: 1, ..packet.clone() };
    let _answered = simulation.receive(&last_hop.frame());
    assert!(simulation.shown().is_empty());
    let watch = |simulation: &Simulation, packets| {
        simulation.config().unwrap().samples.store(packets, order::PLAIN);
    };
    watch(&simulation, 2);
    let _answered = simulation.receive(&last_hop.frame());
    simulation.destination_mut(0).egress[0].interface.store(0, order::PLAIN);
    for _ in 0..3 {
        assert_eq!(simulation.receive(&packet.frame()).0, Verdict::Drop);
    }
    let expected = [(Event::TimeExceeded, last_hop.frame()), (Event::Unresolved, packet.frame())];
    assert_eq!(*simulation.shown(), expected);
}
