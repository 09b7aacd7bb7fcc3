//! Packets that are too large for the way to their destination, and leave in fragments.

use crate::fixture::*;
use rlvs_packet::tcp::{ACK, SYN};
use rlvs_switch::counters::Event;
use rlvs_switch::destination::tunnel::{CHECKSUM, GRE, GUE, IPIP};
use rlvs_switch::fragment::LARGE_MAX;
use rlvs_switch::service::flag::ONE_PACKET;
use rlvs_switch::simulation::{CLIENT_SIDE, Packet, SERVER_SIDE, Server, Simulation, Transport, icmp_error};
use rlvs_switch::{Memory, Verdict, order};

const MTU: u32 = 1000;

/// A server behind each forwarding method and kind of tunnel, and whether that adds an IP header.
fn ways() -> Vec<(Server, bool)> {
    let (four, six) = (v4().server, v6().server);
    let mut all = vec![(Server::nat(four), false), (Server::direct(four), false)];
    for server in [four, six] {
        for (kind, flags) in [(IPIP, 0), (GUE, 0), (GUE, CHECKSUM), (GRE, 0), (GRE, CHECKSUM)] {
            all.push((Server::tunnel_of(kind, flags, server), true));
        }
    }
    all
}

/// A director of `server` behind a narrow link, and one that reaches it by a wide one.
fn narrow_and_wide(server: &Server) -> [Simulation; 2] {
    [MTU, 9000].map(|mtu| director(v4(), &Server { mtu, ..server.clone() }))
}

/// The packet leaves the narrow director in fragments: as it leaves the wide one whole.
fn is_cut([narrow, wide]: &[Simulation; 2], frame: &[u8], is_own: bool) {
    let (verdict, whole) = wide.receive(frame);
    assert_eq!(verdict, Verdict::Redirect(SERVER_SIDE));
    let before = narrow.events(Event::Fragmented);
    assert_eq!(narrow.receive(frame).0, Verdict::Drop);
    assert_eq!(narrow.events(Event::Fragmented), before + 1);
    let large = narrow.large().pop().unwrap();
    assert_eq!((large.interface, large.mtu, large.is_own), (SERVER_SIDE, MTU, is_own));
    assert_eq!(large.frame, whole);
    assert!(narrow.large().is_empty());
    narrow.audit().unwrap();
}

fn of_length(length: u32, dont_fragment: bool) -> Packet {
    let (client, vip) = (v4().client, v4().vip);
    Packet { payload: vec![7; length as usize - 40], dont_fragment, ..Packet::tcp(client, vip, SYN) }
}

#[test]
fn what_may_be_fragmented_is() {
    for (server, is_own) in ways() {
        let directors = narrow_and_wide(&server);
        is_cut(&directors, &of_length(MTU + 1, false).frame(), is_own);
        // Of a connection that is known.
        let tagged = Packet { vlan: Some(7), options: vec![1; 8], ..of_length(MTU + 300, false) };
        is_cut(&directors, &tagged.frame(), is_own);
    }
}

#[test]
fn a_tunnel_takes_its_part_of_what_fits() {
    for (server, is_own) in ways() {
        let directors = narrow_and_wide(&server);
        let room = |length: u32| {
            let (_, whole) = directors[1].receive(&of_length(length, false).frame());
            MTU - (whole.len() as u32 - 14 - length)
        };
        let fits = room(MTU);
        assert_eq!(directors[0].receive(&of_length(fits, false).frame()).0, Verdict::Redirect(SERVER_SIDE));
        is_cut(&directors, &of_length(fits + 1, false).frame(), is_own);
    }
}

#[test]
fn without_pmtu_disc_tunnels_fragment_what_may_not_be() {
    for (server, is_own) in ways() {
        let directors = narrow_and_wide(&server);
        let large = of_length(MTU + 1, true).frame();
        assert_eq!(directors[0].receive(&large).0, Verdict::Transmit, "an error for the client");
        for director in &directors {
            director.config().unwrap().settings.pmtu_disc.store(0, order::PLAIN);
        }
        if is_own {
            is_cut(&directors, &large, is_own);
        } else {
            assert_eq!(directors[0].receive(&large).0, Verdict::Transmit, "not so without a tunnel");
        }
    }
}

#[test]
fn fragments_and_errors_are_fragmented_too() {
    for (server, is_own) in ways() {
        let directors = narrow_and_wide(&server);
        let request = Packet { identification: 9, ..of_length(3000, false) };
        // The last one fits.
        for fragment in &request.fragments(MTU as usize)[..2] {
            is_cut(&directors, fragment, is_own);
        }
    }
    let net = v4();
    let directors = narrow_and_wide(&Server::nat(net.server));
    let reply = Packet { payload: vec![1; MTU as usize], ..Packet::tcp(net.vip, net.client, SYN) };
    for director in &directors {
        to_server(director, &Packet::tcp(net.client, net.vip, SYN));
    }
    let mut error = icmp_error(net.client.ip(), net.vip.ip(), (3, 4), 576, &reply.frame()[14..]);
    // With "don't fragment".
    (error[20], error[24]) = (0x40, error[24].wrapping_sub(0x40));
    is_cut(&directors, &error, false);
}

#[test]
fn a_service_of_single_packets_fragments_them() {
    let net = v4();
    for (server, is_own) in ways() {
        let mut directors = narrow_and_wide(&server);
        for director in &mut directors {
            director.set_flags(1, ONE_PACKET);
        }
        let payload = vec![7; MTU as usize];
        is_cut(
            &directors,
            &Packet { payload, dont_fragment: false, ..Packet::udp(net.client, net.vip) }.frame(),
            is_own,
        );
    }
}

#[test]
fn what_the_director_cannot_take_is_dropped_and_counted() {
    let [narrow, _] = narrow_and_wide(&Server::nat(v4().server));
    let too_large = of_length(LARGE_MAX as u32, false).frame();
    assert_eq!(narrow.receive(&too_large).0, Verdict::Drop);
    assert_eq!((narrow.events(Event::Fragmented), narrow.events(Event::NotFragmented)), (0, 1));
    assert!(narrow.large().is_empty());
}

#[test]
fn replies_are_fragmented_or_refused_like_requests() {
    for net in [v4(), v6()] {
        let mut simulation = director(net, &Server::nat(net.server));
        to_server(&simulation, &Packet::tcp(net.client, net.vip, SYN));
        let reply = |length: usize, dont_fragment| {
            let headers = if net.vip.is_ipv4() { 40 } else { 60 };
            let payload = vec![7; length - headers];
            Packet { payload, dont_fragment, ..Packet::tcp(net.server, net.client, SYN | ACK) }.frame()
        };
        let mtu = 1400;
        let (verdict, whole) = simulation.receive_from(SERVER_SIDE, &reply(mtu + 1, false));
        assert_eq!(verdict, Verdict::Redirect(CLIENT_SIDE));
        // Of another way; this one carries all.
        simulation.set_mtu("192.0.2.1".parse().unwrap(), mtu as u32);
        assert_eq!(simulation.receive_from(SERVER_SIDE, &reply(mtu + 1, false)), (verdict, whole.clone()));

        simulation.set_mtu(net.client.ip(), mtu as u32);
        assert_eq!(simulation.receive_from(SERVER_SIDE, &reply(mtu, true)).0, verdict);
        let refused = if net.vip.is_ipv4() {
            assert_eq!(simulation.receive_from(SERVER_SIDE, &reply(mtu + 1, false)).0, Verdict::Drop);
            let large = simulation.large().pop().unwrap();
            assert_eq!((large.interface, large.mtu, large.is_own), (CLIENT_SIDE, mtu as u32, false));
            assert_eq!(large.frame, whole);
            reply(mtu + 1, true)
        } else {
            reply(mtu + 1, false)
        };
        let (verdict, error) = simulation.receive_from(SERVER_SIDE, &refused);
        assert_eq!(verdict, Verdict::Transmit, "back to the real server");
        let error = sound(&error);
        let Transport::Icmp { word, .. } = error.transport else { panic!("no ICMP error: {error:?}") };
        assert_eq!((word, error.inner().destination), (mtu as u32, net.server.ip()));
        assert_eq!(simulation.events(Event::ReplyMirrored), 1, "only the first looks for a way");
        simulation.audit().unwrap();
    }
}
