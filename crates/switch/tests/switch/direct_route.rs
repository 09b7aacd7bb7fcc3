//! Direct routing: only the next hop and one hop less.

use crate::fixture::*;
use rlvs_packet::tcp::SYN;
use rlvs_switch::Verdict;
use rlvs_switch::counters::Event;
use rlvs_switch::destination::{Egress, Hop, method};
use rlvs_switch::simulation::{CLIENT_SIDE, DIRECTOR_MAC, Packet, Server};

#[test]
fn the_packet_is_the_clients_but_for_macs_and_hops() {
    for net in [v4(), v6()] {
        let simulation = director(net, &Server::direct(net.server));
        for request in [Packet::tcp(net.client, net.vip, SYN), Packet::udp(net.client, net.vip)] {
            let (verdict, frame) = simulation.receive(&request.frame());
            assert_eq!(verdict, Verdict::Redirect(3));
            let expected = Packet { hops: 63, macs: [[2, 0, 0, 0, 1, 1], DIRECTOR_MAC], ..request };
            assert_eq!(frame, expected.frame());
        }
        simulation.audit().unwrap();
    }
}

#[test]
fn a_server_on_the_link_that_the_packet_came_by_gets_it_there() {
    let net = v4();
    let hop = Hop::new(CLIENT_SIDE, [2, 0, 0, 0, 1, 1], DIRECTOR_MAC, 0);
    let simulation = director(net, &Server { hop, ..Server::direct(net.server) });
    assert_eq!(simulation.receive(&Packet::tcp(net.client, net.vip, SYN).frame()).0, Verdict::Transmit);
}

#[test]
fn a_server_whose_neighbour_is_not_known_gets_nothing_yet() {
    let net = v4();
    let simulation = director(net, &Server { hop: Hop::UNKNOWN, ..Server::direct(net.server) });
    assert_eq!(simulation.receive(&Packet::tcp(net.client, net.vip, SYN).frame()).0, Verdict::Drop);
    assert_eq!(simulation.events(Event::Unresolved), 1);
}

#[test]
fn a_destination_that_is_the_director_itself_gets_the_packet_as_it_is() {
    let net = v4();
    let here = Hop::new(Egress::HERE, [0; 6], [0; 6], 0);
    let request = Packet::tcp(net.client, net.vip, SYN).frame();
    for server in [
        Server::new(method::LOCAL, net.server),
        Server { hop: here, ..Server::direct(net.server) },
        Server { hop: here, ..Server::tunnel(net.server) },
    ] {
        let simulation = director(net, &server);
        passes_untouched(&simulation, &request);
        assert_eq!(simulation.state_of(net.client, net.vip), Some("SYN_RECV"));
    }
}
