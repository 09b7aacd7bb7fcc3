//! VLAN tags come off, go on and change, as the hop says.

use crate::fixture::*;
use rlvs_packet::tcp::{ACK, SYN};
use rlvs_switch::Verdict;
use rlvs_switch::counters::Event;
use rlvs_switch::destination::Hop;
use rlvs_switch::simulation::{CLIENT_SIDE, Cpu, DIRECTOR_MAC, Packet, SERVER_SIDE, Server};

fn by_vlan(server: Server, vlan: u16) -> Server {
    Server { hop: Hop::new(SERVER_SIDE, [2, 0, 0, 0, 1, 1], DIRECTOR_MAC, vlan), ..server }
}

#[test]
fn every_change_of_the_tag_with_every_forwarding_method() {
    for net in [v4(), v6()] {
        for server in [Server::nat(net.server), Server::direct(net.server), Server::tunnel(net.server)] {
            for (before, after) in [(None, 0), (None, 5), (Some(7), 0), (Some(7), 5), (Some(7), 7)] {
                let simulation = director(net, &by_vlan(server.clone(), after));
                let request = Packet { vlan: before, ..Packet::tcp(net.client, net.vip, SYN) };
                let sent = to_server(&simulation, &request);
                assert_eq!(sent.vlan, (after != 0).then_some(after), "{before:?} to {after} by {server:?}");
                assert_eq!((sent.to, sent.from), ([2, 0, 0, 0, 1, 1], DIRECTOR_MAC));
                assert_eq!(sent.ports().unwrap().0, net.client.port());
            }
        }
    }
}

#[test]
fn a_reply_goes_back_into_the_clients_vlan() {
    let net = v4();
    let simulation = director(net, &by_vlan(Server::nat(net.server), 5));
    let request = Packet { vlan: Some(7), ..Packet::tcp(net.client, net.vip, SYN) };
    to_server(&simulation, &request);
    let reply =
        Packet { vlan: Some(5), source: net.server, destination: net.client, flags: SYN | ACK, ..request };
    let (verdict, frame) = simulation.receive_from(SERVER_SIDE, &reply.frame());
    assert_eq!(verdict, Verdict::Redirect(CLIENT_SIDE));
    assert_eq!(sound(&frame).vlan, Some(7));
}

#[test]
fn a_frame_without_room_for_more_headers_is_dropped_and_counted() {
    let net = v6();
    let simulation = director(net, &Server::tunnel(net.server));
    let cpu = Cpu::with_headroom(&simulation, 8, &Packet::tcp(net.client, net.vip, SYN).frame());
    assert_eq!(rlvs_switch::run(&cpu), Verdict::Drop);
    assert_eq!(simulation.events(Event::NoRoom), 1);
}
