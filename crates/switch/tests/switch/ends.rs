//! Connections that end with their destination.

use crate::fixture::*;
use rlvs_packet::protocol::SCTP;
use rlvs_packet::sctp::chunk;
use rlvs_packet::tcp::{ACK, FIN, RST, SYN};
use rlvs_switch::counters::Event;
use rlvs_switch::destination::flag::{ENDS, MOVES};
use rlvs_switch::scheduler::Scheduler;
use rlvs_switch::simulation::{
    CLIENT_MAC, DIRECTOR_MAC, Decoded, Packet, SERVER_SIDE, Server, Simulation, Transport,
};
use rlvs_switch::{Verdict, order};

/// Deletes the only destination of the service, and ends its connections; the index of another one, which is there then.
fn end(simulation: &mut Simulation, net: Net, service: u32, flags: u32) -> u32 {
    let destination = simulation.members_of(service)[0];
    simulation.remove_destination(service, destination);
    simulation.destination_mut(destination).flags.store(flags, order::PLAIN);
    let other = if net.vip.is_ipv4() { "10.2.0.2:8080" } else { "[fd02::2]:8080" };
    simulation.add_destination(service, &Server::nat(at(other)))
}

/// With one connection of TCP, established.
fn at_work(net: Net, server: &Server) -> Simulation {
    let simulation = director(net, server);
    to_server(&simulation, &Packet::tcp(net.client, net.vip, SYN));
    let answer = Packet::tcp(net.server, net.client, SYN | ACK);
    simulation.receive_from(SERVER_SIDE, &answer.frame());
    to_server(&simulation, &Packet::tcp(net.client, net.vip, ACK));
    simulation
}

fn servers(net: Net) -> [Server; 3] {
    [Server::nat(net.server), Server::direct(net.server), Server::tunnel(net.server)]
}

#[test]
fn a_client_that_goes_on_gets_a_reset_that_it_takes() {
    for net in [v4(), v6()] {
        for server in servers(net) {
            let mut simulation = at_work(net, &server);
            end(&mut simulation, net, 0, ENDS);
            let plain = Packet::tcp(net.client, net.vip, ACK);
            let mut packets = vec![
                plain.clone(),
                Packet { payload: vec![7; 900], ..plain.clone() },
                Packet { vlan: Some(5), padding: 6, hops: 1, ..plain.clone() },
                Packet { flags: FIN | ACK, ..plain.clone() },
            ];
            if net.vip.is_ipv4() {
                packets.push(Packet { options: vec![1, 1, 1, 0], payload: vec![7; 9], ..plain.clone() });
            }
            let first = Packet { payload: vec![7; 600], dont_fragment: false, ..plain.clone() };
            let mut frames: Vec<_> = packets.iter().map(|packet| (packet.vlan, packet.frame())).collect();
            frames.push((None, first.fragments(512).remove(0)));
            for (vlan, frame) in &frames {
                let (verdict, answer) = simulation.receive(frame);
                assert_eq!(verdict, Verdict::Transmit, "{frame:x?}");
                let Decoded { to, from, vlan: tag, ip, transport, .. } = sound(&answer);
                assert_eq!((to, from, tag), (CLIENT_MAC, DIRECTOR_MAC, *vlan));
                assert_eq!((ip[0].source, ip[0].destination), (net.vip.ip(), net.client.ip()));
                let ports = (net.vip.port(), net.client.port());
                assert_eq!(transport, Transport::Tcp { ports, flags: RST, payload: vec![] });
                // Nothing follows the TCP header, whose sequence number is what the client acknowledged.
                assert_eq!(answer[answer.len() - 16..][..4], [0x55, 0x66, 0x77, 0x88]);
            }
            assert_eq!(simulation.events(Event::Reset), frames.len() as u32);
            assert_eq!(simulation.state_of(net.client, net.vip), Some("CLOSE"));
            simulation.audit().unwrap();
        }
    }
}

#[test]
fn a_reset_is_not_answered_and_nothing_is_told_of_what_is_lost() {
    for net in [v4(), v6()] {
        for flags in [RST, RST | ACK, FIN, 0] {
            let mut simulation = at_work(net, &Server::direct(net.server));
            end(&mut simulation, net, 0, ENDS);
            let packet = Packet::tcp(net.client, net.vip, flags);
            assert_eq!(simulation.receive(&packet.frame()).0, Verdict::Drop, "{flags:#x}");
            assert_eq!(simulation.state_of(net.client, net.vip), Some("CLOSE"));
            assert_eq!((simulation.events(Event::Reset), simulation.events(Event::DestinationGone)), (0, 1));
        }
    }
}

#[test]
fn resets_last_as_long_as_the_client_goes_on_and_ten_seconds() {
    let mut simulation = at_work(v4(), &Server::nat(v4().server));
    end(&mut simulation, v4(), 0, ENDS);
    let packet = Packet::tcp(v4().client, v4().vip, ACK).frame();
    for _ in 0..3 {
        assert_eq!(simulation.receive(&packet).0, Verdict::Transmit);
        simulation.advance(9);
    }
    simulation.advance(2);
    assert_eq!(simulation.receive(&packet).0, Verdict::Pass);
    assert_eq!(simulation.sweep(), 1);
    simulation.audit().unwrap();
}

#[test]
fn a_client_that_begins_anew_gets_another_server() {
    for net in [v4(), v6()] {
        let mut simulation = at_work(net, &Server::nat(net.server));
        let other = end(&mut simulation, net, 0, ENDS);
        to_server(&simulation, &Packet::tcp(net.client, net.vip, SYN));
        assert_eq!(simulation.connections_of(other), (1, 0));
        simulation.audit().unwrap();
    }
}

#[test]
fn a_datagram_is_answered_by_an_error_or_goes_to_another_server() {
    for net in [v4(), v6()] {
        for server in servers(net) {
            for flags in [ENDS, ENDS | MOVES] {
                let mut simulation = director(net, &server);
                let datagram = Packet::udp(net.client, net.vip);
                to_server(&simulation, &datagram);
                let other = end(&mut simulation, net, 1, flags);
                if flags == ENDS {
                    let (verdict, answer) = simulation.receive(&datagram.frame());
                    assert_eq!(verdict, Verdict::Transmit);
                    let Transport::Icmp { kind, .. } = sound(&answer).transport else { panic!("no ICMP") };
                    assert_eq!(kind, if net.vip.is_ipv4() { (3, 3) } else { (1, 4) });
                    assert_eq!(simulation.connections_of(1), (0, 0));
                }
                // Who asks once more is a new client.
                to_server(&simulation, &datagram);
                assert_eq!(
                    (simulation.connections_of(1), simulation.connections_of(other)),
                    ((0, 0), (0, 1))
                );
                simulation.audit().unwrap();
            }
        }
    }
}

#[test]
fn an_association_is_forgotten() {
    for net in [v4(), v6()] {
        let mut simulation = Simulation::new(1 << 10, 1);
        simulation.add_service(SCTP, net.vip, Scheduler::RoundRobin);
        simulation.add_destination(0, &Server::direct(net.server));
        to_server(&simulation, &Packet::sctp(net.client, net.vip, chunk::INIT));
        end(&mut simulation, net, 0, ENDS);
        let packet = Packet::sctp(net.client, net.vip, chunk::COOKIE_ECHO).frame();
        assert_eq!(simulation.receive(&packet).0, Verdict::Drop);
        assert_eq!((simulation.connections_of(0), simulation.events(Event::DestinationGone)), ((0, 0), 1));
        passes_untouched(&simulation, &packet);
        simulation.audit().unwrap();
    }
}

#[test]
fn errors_and_later_fragments_end_nothing() {
    let net = v4();
    let mut simulation = at_work(net, &Server::direct(net.server));
    let large =
        Packet { payload: vec![7; 900], dont_fragment: false, ..Packet::tcp(net.client, net.vip, ACK) };
    let [first, later] = &large.fragments(512)[..2] else { panic!("two fragments") };
    assert_eq!(simulation.receive(first).0, Verdict::Redirect(SERVER_SIDE));
    end(&mut simulation, net, 0, ENDS);
    assert_eq!(simulation.receive(later).0, Verdict::Drop);
    assert_eq!(simulation.state_of(net.client, net.vip), Some("ESTABLISHED"));
    assert_eq!((simulation.events(Event::Reset), simulation.events(Event::DestinationGone)), (0, 1));
}
