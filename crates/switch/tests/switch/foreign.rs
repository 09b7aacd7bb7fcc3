//! What is none of the switch's business passes untouched, whatever it is.

use crate::fixture::*;
use proptest::prelude::*;
use rlvs_packet::tcp::{ACK, FIN, RST, SYN};
use rlvs_switch::Verdict;
use rlvs_switch::counters::Event;
use rlvs_switch::simulation::{Packet, Server, Simulation, icmp_error};

#[test]
fn packets_for_other_addresses_ports_and_protocols() {
    for net in [v4(), v6()] {
        let mut simulation = Simulation::new(1 << 10, 1);
        let service = simulation.add_service(6, net.vip, rlvs_switch::scheduler::Scheduler::RoundRobin);
        simulation.add_destination(service, &Server::nat(net.server));
        let mut other_port = net.vip;
        other_port.set_port(81);
        passes_untouched(&simulation, &Packet::tcp(net.client, other_port, SYN).frame());
        passes_untouched(&simulation, &Packet::tcp(net.vip, net.client, SYN).frame());
        passes_untouched(&simulation, &Packet::udp(net.client, net.vip).frame());
        assert_eq!(simulation.connections(), vec![]);
    }
}

#[test]
fn tcp_packets_that_open_nothing() {
    for net in [v4(), v6()] {
        let simulation = director(net, &Server::nat(net.server));
        for flags in [0, ACK, FIN, FIN | ACK, RST, RST | SYN, RST | ACK] {
            passes_untouched(&simulation, &Packet::tcp(net.client, net.vip, flags).frame());
        }
        assert_eq!(simulation.connections(), vec![]);
    }
}

#[test]
fn ftp_data_connections_are_not_scheduled() {
    let net = v4();
    let simulation = director(net, &Server::nat(net.server));
    passes_untouched(&simulation, &Packet::tcp(at("10.9.0.7:20"), net.vip, SYN).frame());
}

#[test]
fn multicast_frames_open_nothing() {
    let net = v4();
    let simulation = director(net, &Server::nat(net.server));
    let mut packet = Packet::tcp(net.client, net.vip, SYN);
    packet.macs[0] = [0xff; 6];
    passes_untouched(&simulation, &packet.frame());
}

#[test]
fn other_ether_types_and_two_tags() {
    let net = v4();
    let simulation = director(net, &Server::nat(net.server));
    let mut arp = Packet::tcp(net.client, net.vip, SYN).frame();
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    passes_untouched(&simulation, &arp);
    let tagged = Packet { vlan: Some(7), ..Packet::tcp(net.client, net.vip, SYN) }.frame();
    let twice = [&tagged[..12], &[0x81, 0, 0, 9], &tagged[12..]].concat();
    passes_untouched(&simulation, &twice);
}

#[test]
fn fragments_of_foreign_packets() {
    for net in [v4(), v6()] {
        let simulation = director(net, &Server::nat(net.server));
        let mut other_port = net.vip;
        other_port.set_port(81);
        for frame in (Packet { payload: vec![5; 100], ..Packet::udp(net.client, other_port) }).fragments(48) {
            passes_untouched(&simulation, &frame);
        }
        assert_eq!(simulation.events(Event::Fragment), 2, "all but the first");
        assert_eq!(simulation.connections(), vec![]);
    }
}

#[test]
fn icmp_that_is_no_error_or_about_no_connection() {
    for net in [v4(), v6()] {
        let simulation = director(net, &Server::nat(net.server));
        let about = &Packet::udp(net.vip, net.client).frame()[14..];
        let kinds: &[u8] =
            if net.client.is_ipv4() { &[0, 3, 4, 5, 8, 11, 12] } else { &[1, 2, 3, 4, 128, 135] };
        for kind in kinds {
            let frame = icmp_error(net.client.ip(), net.vip.ip(), (*kind, 0), 0, about);
            for length in 14..=frame.len() {
                passes_untouched(&simulation, &frame[..length]);
            }
        }
        assert_eq!(simulation.connections(), vec![]);
    }
}

#[test]
fn every_truncation_of_every_kind_of_packet() {
    for net in [v4(), v6()] {
        for packet in [Packet::tcp(net.client, net.vip, SYN), Packet::udp(net.client, net.vip)] {
            for vlan in [None, Some(7)] {
                let simulation = director(net, &Server::nat(net.server));
                let frame = Packet { vlan, ..packet.clone() }.frame();
                for length in 0..frame.len() {
                    passes_untouched(&simulation, &frame[..length]);
                }
                assert_eq!(simulation.connections(), vec![]);
            }
        }
    }
}

#[test]
fn headers_that_contradict_themselves() {
    let net = v4();
    let simulation = director(net, &Server::nat(net.server));
    let good = Packet::tcp(net.client, net.vip, SYN).frame();
    let with = |at: usize, octet: u8| {
        let mut frame = good.clone();
        frame[at] = octet;
        frame
    };
    for frame in [
        with(14, 0x55), // version 5
        with(14, 0x44), // a header shorter than any
        with(14, 0x4f), // a header that leaves no room for TCP's
        with(16, 0x40), // longer than the frame
        with(17, 19),   // shorter than its header
        with(17, 39),   // shorter than TCP's header
    ] {
        passes_untouched(&simulation, &frame);
    }
    assert_eq!(simulation.events(Event::Malformed), 6);
}

proptest! {
    #[test]
    fn no_octets_make_it_fail_and_what_passes_is_unchanged(
        frame in proptest::collection::vec(any::<u8>(), 0..200),
        kind in proptest::option::of(prop_oneof![Just(0x0800u16), Just(0x86dd), Just(0x8100)]),
    ) {
        let mut frame = frame;
        if let (Some(kind), true) = (kind, frame.len() >= 14) {
            frame[12..14].copy_from_slice(&kind.to_be_bytes());
        }
        let simulation = director(v4(), &Server::nat(v4().server));
        let (verdict, after) = simulation.receive(&frame);
        if verdict == Verdict::Pass {
            prop_assert_eq!(after, frame);
        }
        simulation.audit().map_err(TestCaseError::fail)?;
    }
}
