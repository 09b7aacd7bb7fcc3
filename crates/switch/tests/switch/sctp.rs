//! SCTP: which packets open an association, its states, and NAT with a checksum that covers all of the packet.

use crate::fixture::*;
use proptest::prelude::*;
use rlvs_packet::protocol::SCTP;
use rlvs_packet::sctp::chunk::*;
use rlvs_switch::config::Tick;
use rlvs_switch::counters::Event;
use rlvs_switch::scheduler::Scheduler;
use rlvs_switch::simulation::{Packet, SERVER_SIDE, Server, Simulation, Transport};
use rlvs_switch::{Memory, Verdict, order};

/// The type of a chunk of data.
const DATA: u8 = 0;

/// A director with an SCTP service.
fn with_sctp(net: Net, server: &Server) -> Simulation {
    let mut simulation = Simulation::new(1 << 10, 1);
    let service = simulation.add_service(SCTP, net.vip, Scheduler::RoundRobin);
    simulation.add_destination(service, server);
    simulation
}

use Sent::{Client, Server as FromServer};

fn play(simulation: &Simulation, net: Net, sent: Sent) -> Verdict {
    sent.play(simulation, net, Packet::sctp)
}

#[test]
fn an_init_opens_an_association_and_nothing_else_does() {
    for net in [v4(), v6()] {
        let simulation = with_sctp(net, &Server::nat(net.server));
        for kind in [DATA, INIT_ACK, COOKIE_ECHO, COOKIE_ACK, SHUTDOWN, ABORT, ERROR, 63, 200] {
            passes_untouched(&simulation, &Packet::sctp(net.client, net.vip, kind).frame());
        }
        assert_eq!(simulation.connections(), vec![]);
        play(&simulation, net, Client(INIT));
        assert_eq!(simulation.state_of(net.client, net.vip), Some("INIT1"));
    }
}

#[test]
fn a_sloppy_director_takes_all_but_an_abort() {
    let net = v4();
    let simulation = with_sctp(net, &Server::nat(net.server));
    simulation.config().unwrap().settings.sloppy_sctp.store(1, order::PLAIN);
    assert_eq!(play(&simulation, net, Client(ABORT)), Verdict::Pass);
    assert!(matches!(play(&simulation, net, Client(DATA)), Verdict::Redirect(_)));
    assert_eq!(simulation.state_of(net.client, net.vip), Some("ESTABLISHED"));
}

#[test]
fn each_state_counts_and_lasts_as_in_ipvs() {
    let open = [Client(INIT), FromServer(INIT_ACK), Client(COOKIE_ECHO), FromServer(COOKIE_ACK)];
    let then = |more: &[Sent]| [&open[..], more].concat();
    let lives = [
        (vec![Client(INIT)], "INIT1", 4, false),
        (vec![Client(INIT), Client(INIT)], "INIT", 61, false),
        (open[..2].to_vec(), "C-SENT", 61, false),
        (open[..3].to_vec(), "C-REPLIED", 61, false),
        (open.to_vec(), "ESTABLISHED", 900, true),
        (then(&[Client(DATA), FromServer(DATA)]), "ESTABLISHED", 900, true),
        (then(&[Client(SHUTDOWN)]), "S-RECEIVED", 61, false),
        (then(&[FromServer(SHUTDOWN)]), "S-SENT", 61, false),
        (then(&[Client(SHUTDOWN), FromServer(SHUTDOWN_ACK)]), "S-ACK-SENT", 61, false),
        (then(&[Client(SHUTDOWN), FromServer(SHUTDOWN_ACK), Client(SHUTDOWN_COMPLETE)]), "CLOSED", 61, false),
        (then(&[FromServer(ABORT)]), "CLOSED", 61, false),
        (vec![Client(INIT), FromServer(ABORT)], "REJECTED", 4, false),
    ];
    for net in [v4(), v6()] {
        for (packets, state, seconds, active) in &lives {
            let simulation = with_sctp(net, &Server::nat(net.server));
            for packet in packets {
                assert!(matches!(play(&simulation, net, *packet), Verdict::Redirect(_)), "{packets:?}");
            }
            assert_eq!(simulation.state_of(net.client, net.vip), Some(*state), "{packets:?}");
            assert_eq!(simulation.connections_of(0), if *active { (1, 0) } else { (0, 1) }, "{packets:?}");
            simulation.advance_ticks(Tick::in_seconds(*seconds) - 1);
            assert_eq!(simulation.sweep(), 0, "{state} for {seconds} seconds");
            simulation.advance_ticks(1);
            assert_eq!(simulation.sweep(), 1, "{state} ends after {seconds} seconds");
            simulation.audit().unwrap();
        }
    }
}

#[test]
fn an_abort_behind_a_cookie_counts() {
    let net = v4();
    // The second chunk, where the first one's length leads; that is not a multiple of four.
    let bundle = |kind: u8, second: u8| {
        let packet =
            Packet { payload: vec![9, 9, 9, 0, second, 0, 0, 4], ..Packet::sctp(net.client, net.vip, kind) };
        let mut frame = packet.frame();
        let length = 14 + 20 + 12 + 2;
        frame[length..length + 2].copy_from_slice(&7u16.to_be_bytes());
        frame
    };
    for (kind, second, state) in [
        (COOKIE_ECHO, ABORT, "CLOSED"),
        (COOKIE_ECHO, DATA, "ESTABLISHED"),
        (COOKIE_ACK, ABORT, "CLOSED"),
        (DATA, ABORT, "INIT1"),
    ] {
        let simulation = with_sctp(net, &Server::direct(net.server));
        play(&simulation, net, Client(INIT));
        assert!(matches!(simulation.receive(&bundle(kind, second)).0, Verdict::Redirect(_)));
        assert_eq!(simulation.state_of(net.client, net.vip), Some(state), "{kind} {second}");
    }
}

#[test]
fn an_init_opens_an_ended_association_anew() {
    let net = v4();
    let mut simulation = with_sctp(net, &Server::nat(net.server));
    for sent in [Client(INIT), Client(ABORT)] {
        play(&simulation, net, sent);
    }
    let other = simulation.add_destination(0, &Server::nat(at("10.2.0.2:8080")));
    play(&simulation, net, Client(DATA));
    assert_eq!((simulation.connections_of(0), simulation.connections_of(other)), ((0, 1), (0, 0)));
    play(&simulation, net, Client(INIT));
    assert_eq!(simulation.state_of(net.client, net.vip), Some("INIT1"));
    assert_eq!((simulation.connections_of(0), simulation.connections_of(other)), ((0, 0), (0, 1)));
    simulation.audit().unwrap();
}

#[test]
fn a_packet_without_a_chunk_is_malformed() {
    let net = v4();
    let simulation = with_sctp(net, &Server::nat(net.server));
    let mut frame = Packet::sctp(net.client, net.vip, INIT).frame();
    frame[16..18].copy_from_slice(&(20 + 15u16).to_be_bytes());
    passes_untouched(&simulation, &frame);
    assert_eq!(simulation.events(Event::Malformed), 1);
}

#[test]
fn fragments_are_left_to_the_kernel() {
    let net = v4();
    let simulation = with_sctp(net, &Server::nat(net.server));
    let mut frame = Packet::sctp(net.client, net.vip, INIT).frame();
    for [high, low] in [[0x20, 0], [0, 9]] {
        frame[20..22].copy_from_slice(&[high, low]);
        passes_untouched(&simulation, &frame);
    }
    assert_eq!(simulation.events(Event::Fragment), 2);
}

proptest! {
    /// NAT to another port and to the same one, both ways.
    #[test]
    fn the_checksum_follows_the_ports(
        six: bool,
        server_port in prop_oneof![Just(80u16), any::<u16>().prop_filter("a port", |port| *port != 0)],
        payload in proptest::collection::vec(any::<u8>(), 0..1440),
        vlan in proptest::option::of(1u16..),
        padding in 0usize..20,
    ) {
        let mut net = if six { v6() } else { v4() };
        net.server.set_port(server_port);
        let simulation = with_sctp(net, &Server::nat(net.server));
        let request = Packet { payload, vlan, padding, ..Packet::sctp(net.client, net.vip, INIT) };
        let sent = to_server(&simulation, &request);
        prop_assert_eq!(sent.inner().destination, net.server.ip());
        prop_assert_eq!(sent.ports(), Some((net.client.port(), server_port)));
        let Transport::Sctp { payload, .. } = sent.transport else { panic!("{sent:?}") };
        prop_assert_eq!(&payload[4..4 + request.payload.len()], &request.payload[..]);

        let reply = Packet { flags: INIT_ACK, source: net.server, destination: net.client, ..request };
        let (verdict, frame) = simulation.receive_from(SERVER_SIDE, &reply.frame());
        prop_assert!(matches!(verdict, Verdict::Redirect(_)));
        let sent = sound(&frame);
        prop_assert_eq!(sent.inner().source, net.vip.ip());
        prop_assert_eq!(sent.ports(), Some((net.vip.port(), net.client.port())));
    }
}
