//! AH and ESP go where the exchange of their keys went: UDP between both ports 500.

use crate::fixture::*;
use rlvs_packet::protocol::{AH, ESP};
use rlvs_switch::Verdict;
use rlvs_switch::destination::tunnel::{CHECKSUM, GRE, GUE, IPIP};
use rlvs_switch::simulation::{Packet, SERVER_SIDE, Server};

/// The example network, everybody at port 500.
fn nets() -> [Net; 2] {
    [v4(), v6()].map(|mut net| {
        for address in [&mut net.client, &mut net.vip, &mut net.server] {
            address.set_port(500);
        }
        net
    })
}

#[test]
fn ipsec_follows_its_key_exchange_both_ways_and_changes_no_state() {
    for net in nets() {
        for protocol in [AH, ESP] {
            let simulation = director(net, &Server::nat(net.server));
            let key_exchange = Packet::udp(net.client, net.vip);
            // An AH of 24 octets with nothing behind it; to ESP, all octets are the same.
            let payload = [&[59, 4, 0, 0][..], &[0x5a; 20]].concat();
            let request = Packet { protocol, payload, ..key_exchange.clone() };
            passes_untouched(&simulation, &request.frame());
            assert_eq!(simulation.connections(), vec![]);

            to_server(&simulation, &key_exchange);
            let (verdict, frame) = simulation.receive(&request.frame());
            assert!(matches!(verdict, Verdict::Redirect(_)));
            let sent = sound(&frame).inner().clone();
            assert_eq!((sent.source, sent.destination), (net.client.ip(), net.server.ip()));
            assert_eq!(frame[frame.len() - 24..], request.payload[..]);

            let reply = Packet { source: net.server, destination: net.client, ..request.clone() };
            let (verdict, frame) = simulation.receive_from(SERVER_SIDE, &reply.frame());
            assert!(matches!(verdict, Verdict::Redirect(_)));
            let sent = sound(&frame).inner().clone();
            assert_eq!((sent.source, sent.destination), (net.vip.ip(), net.client.ip()));
            assert_eq!(simulation.state_of(net.client, net.vip), Some("UDP"));
            assert_eq!(simulation.connections_of(1), (0, 1));
            simulation.audit().unwrap();
        }
    }
}

#[test]
fn ipsec_goes_through_tunnels_of_each_kind() {
    for net in nets() {
        for kind in [IPIP, GUE, GRE] {
            let simulation = director(net, &Server::tunnel_of(kind, CHECKSUM, net.server));
            let key_exchange = Packet::udp(net.client, net.vip);
            to_server(&simulation, &key_exchange);
            let request = Packet { protocol: ESP, payload: vec![0x5a; 77], ..key_exchange };
            let sent = to_server(&simulation, &request);
            assert_eq!(sent.ip[0].destination, net.server.ip());
            assert_eq!((sent.ip[1].source, sent.ip[1].destination), (net.client.ip(), net.vip.ip()));
        }
    }
}

#[test]
fn ipsec_keeps_its_key_exchange_alive() {
    let [net, _] = nets();
    let simulation = director(net, &Server::direct(net.server));
    to_server(&simulation, &Packet::udp(net.client, net.vip));
    for _ in 0..4 {
        simulation.advance(200);
        to_server(&simulation, &Packet { protocol: ESP, ..Packet::udp(net.client, net.vip) });
    }
    simulation.advance(301);
    let late = Packet { protocol: ESP, ..Packet::udp(net.client, net.vip) };
    passes_untouched(&simulation, &late.frame());
}

#[test]
fn a_key_exchange_on_another_port_does_not_count() {
    let [net, _] = nets();
    let simulation = director(net, &Server::direct(net.server));
    let mut client = net.client;
    client.set_port(4500);
    to_server(&simulation, &Packet::udp(client, net.vip));
    passes_untouched(&simulation, &Packet { protocol: ESP, ..Packet::udp(net.client, net.vip) }.frame());
}
