//! FTP behind NAT: what is read on control connections, and the data connections that follow from it.

use crate::fixture::*;
use proptest::prelude::*;
use rlvs_packet::protocol::TCP;
use rlvs_packet::tcp::{ACK, RST, SYN};
use rlvs_switch::Verdict;
use rlvs_switch::counters::Event;
use rlvs_switch::scheduler::Scheduler;
use rlvs_switch::simulation::{CLIENT_SIDE, Decoded, Packet, SERVER_SIDE, Server, Simulation, Transport};
use std::net::{IpAddr, SocketAddr};

/// An established control connection.
struct Session {
    simulation: Simulation,
    client: SocketAddr,
    vip: SocketAddr,
    server: SocketAddr,
}

impl Session {
    fn new(net: Net) -> Session {
        let port_21 = |address: SocketAddr| SocketAddr::new(address.ip(), 21);
        let (vip, server) = (port_21(net.vip), port_21(net.server));
        let mut simulation = Simulation::new(1 << 10, 1);
        let service = simulation.add_service(TCP, vip, Scheduler::RoundRobin);
        simulation.add_destination(service, &Server::nat(server));
        let session = Session { simulation, client: net.client, vip, server };
        session.request(session.client, vip, SYN, "");
        session.reply(server, session.client, SYN | ACK, "");
        session.request(session.client, vip, ACK, "");
        session
    }

    /// A client's packet, which must go to the server; what arrives.
    fn request(&self, from: SocketAddr, to: SocketAddr, flags: u8, text: &str) -> Decoded {
        let packet = Packet { payload: text.into(), ..Packet::tcp(from, to, flags) };
        let out = to_server(&self.simulation, &packet);
        assert_eq!(payload(&out), text);
        out
    }

    /// A server's packet, which must go to the client; what arrives.
    fn reply(&self, from: SocketAddr, to: SocketAddr, flags: u8, text: &str) -> Decoded {
        let packet = Packet { payload: text.into(), ..Packet::tcp(from, to, flags) };
        let (verdict, frame) = self.simulation.receive_from(SERVER_SIDE, &packet.frame());
        assert_eq!(verdict, Verdict::Redirect(CLIENT_SIDE), "{packet:?}");
        sound(&frame)
    }

    /// The client says something.
    fn say(&self, text: &str) {
        self.request(self.client, self.vip, ACK, text);
    }

    /// The server answers; what the client reads.
    fn answer(&self, text: &str) -> String {
        payload(&self.reply(self.server, self.client, ACK, text))
    }

    /// Whether the client gets through to the server by this port of the VIP, whatever its own port.
    fn data_by(&self, port: u16) -> bool {
        let from = SocketAddr::new(self.client.ip(), 40_000 + port % 100);
        let packet = Packet::tcp(from, SocketAddr::new(self.vip.ip(), port), SYN);
        let (verdict, frame) = self.simulation.receive(&packet.frame());
        if verdict != Verdict::Redirect(SERVER_SIDE) {
            return false;
        }
        let out = sound(&frame);
        assert_eq!((out.inner().destination, out.ports()), (self.server.ip(), Some((from.port(), port))));
        let back = self.reply(SocketAddr::new(self.server.ip(), port), from, SYN | ACK, "");
        assert_eq!((back.inner().source, back.ports()), (self.vip.ip(), Some((port, from.port()))));
        self.simulation.audit().unwrap();
        true
    }

    /// Whether the server gets through to this address of the client.
    fn data_to(&self, to: SocketAddr) -> bool {
        let from = SocketAddr::new(self.server.ip(), 20);
        let (verdict, frame) = self.simulation.receive_from(SERVER_SIDE, &Packet::tcp(from, to, SYN).frame());
        if verdict != Verdict::Redirect(CLIENT_SIDE) {
            return false;
        }
        let out = sound(&frame);
        assert_eq!((out.inner().source, out.ports()), (self.vip.ip(), Some((20, to.port()))));
        let back = self.request(to, SocketAddr::new(self.vip.ip(), 20), SYN | ACK, "");
        assert_eq!((back.inner().destination, back.ports()), (self.server.ip(), Some((to.port(), 20))));
        self.simulation.audit().unwrap();
        true
    }
}

fn payload(packet: &Decoded) -> String {
    match &packet.transport {
        Transport::Tcp { payload, .. } => String::from_utf8(payload.clone()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_227_names_the_vip_and_its_data_connection_reaches_the_server() {
    let session = Session::new(v4());
    session.say("PASV\r\n");
    assert!(!session.data_by(50_001));
    assert_eq!(
        session.answer("227 Entering Passive Mode (10,2,0,1,195,81)\r\n"),
        "227 Entering Passive Mod(10,1,0,200,195,81)\r\n",
    );
    // The connection of whoever asked, once, and for a moment while its first packet may be repeated.
    let stranger = Packet::tcp(at("10.9.0.8:1"), at("10.1.0.200:50001"), SYN).frame();
    passes_untouched(&session.simulation, &stranger);
    assert!(session.data_by(50_001));
    session.simulation.advance(3);
    assert_eq!(session.simulation.counters(0, 0).unwrap().connections.load(rlvs_switch::order::PLAIN), 1);
    assert!(!session.data_by(50_001 + 100));
    let again = Packet::tcp(at("10.9.0.7:60000"), at("10.1.0.200:50001"), SYN).frame();
    passes_untouched(&session.simulation, &again);
}

#[test]
fn a_227_that_nobody_asked_for_stays_as_it_is() {
    let session = Session::new(v4());
    let text = "227 Entering Passive Mode (10,2,0,1,195,81)\r\n";
    assert_eq!(session.answer(text), text);
    session.say("PASV\r\n");
    assert_ne!(session.answer(text), text);
    // Asked for once.
    assert_eq!(session.answer(text), text);
    session.say("PASV\r\n");
    session.say("PORT 10,9,0,7,100,1\r\n");
    assert_eq!(session.answer(text), text, "the client has thought better of it");
}

#[test]
fn a_229_stays_as_it_is_and_its_data_connection_reaches_the_server() {
    for net in [v4(), v6()] {
        for command in ["EPSV\r\n", if net.vip.is_ipv4() { "epsv 1\r\n" } else { "Epsv 2\r\n" }] {
            let session = Session::new(net);
            session.say(command);
            let text = "229 Entering Extended Passive Mode (|||50123|)\r\n";
            assert_eq!(session.answer(text), text);
            assert!(session.data_by(50_123));
        }
        for command in
            ["EPSV ALL\r\n", if net.vip.is_ipv4() { "EPSV 2\r\n" } else { "EPSV 1\r\n" }, "PASVX\n"]
        {
            let session = Session::new(net);
            session.say(command);
            session.answer("229 Entering Extended Passive Mode (|||50123|)\r\n");
            assert!(!session.data_by(50_123), "{command}");
        }
    }
}

#[test]
fn the_server_opens_a_data_connection_from_port_20_of_the_vip() {
    let session = Session::new(v4());
    let to = at("10.9.0.7:25601");
    assert!(!session.data_to(to));
    session.say("PORT 10,9,0,7,100,1\r\n");
    assert_eq!(session.simulation.state_of(to, at("10.1.0.200:20")), Some("LISTEN"));
    assert!(session.data_to(to));
    session.say("eprt |1|10.9.0.7|25602|\r\n");
    assert!(session.data_to(at("10.9.0.7:25602")));
    let session = Session::new(v6());
    for (text, address) in [
        ("fd09::7", "fd09::7"),
        ("FD09:0:0:0:0:0:0:7", "fd09::7"),
        ("fd09:1:2:3:4:5:6:7", "fd09:1:2:3:4:5:6:7"),
        ("::7", "::7"),
        ("fd09::", "fd09::"),
        ("fd09:1::4:5", "fd09:1::4:5"),
    ] {
        session.say(&format!("EPRT |2|{text}|25601|\r\n"));
        let to = SocketAddr::new(address.parse().unwrap(), 25_601);
        assert!(session.data_to(to), "{text}");
    }
}

#[test]
fn commands_that_say_nothing_make_no_connections() {
    for net in [v4(), v6()] {
        let session = Session::new(net);
        let before = session.simulation.connections().len();
        for command in [
            "PORT 10,9,0,7,100\r\n",
            "PORT 10,9,0,256,100,1\r\n",
            "PORT 10,9,0,7,0,0\r\n",
            "PORT10,9,0,7,100,1\r\n",
            "NOOP PORT 10,9,0,7,100,1\r\n",
            "EPRT |3|10.9.0.7|25601|\r\n",
            "EPRT |1|10.9.0.7|0|\r\n",
            "EPRT |1|10.9.0.7|25601\r\n",
            "EPRT |2|fd09::7::1|25601|\r\n",
            "EPRT |2|fd09:7|25601|\r\n",
            "EPRT |2|12345::7|25601|\r\n",
            "EPRT |2|1:2:3:4:5:6:7:8:9|25601|\r\n",
            "EPRT |2|fd09::7|65536|\r\n",
            "P",
            "EPRT",
        ] {
            session.say(command);
            assert_eq!(session.simulation.connections().len(), before, "{command}");
        }
    }
}

#[test]
fn what_has_no_room_for_the_vip_is_dropped() {
    let session = Session::new(v4());
    session.say("PASV\r\n");
    let text = Packet {
        payload: b"227 10,2,0,1,195,81\r\n".to_vec(),
        ..Packet::tcp(session.server, session.client, ACK)
    };
    let (verdict, _) = session.simulation.receive_from(SERVER_SIDE, &text.frame());
    assert_eq!((verdict, session.simulation.events(Event::NoRoom)), (Verdict::Drop, 1));
}

#[test]
fn a_data_connection_to_come_expires() {
    let session = Session::new(v4());
    session.say("PASV\r\n");
    session.answer("227 Entering Passive Mode (10,2,0,1,195,81)\r\n");
    session.simulation.advance(121);
    assert!(!session.data_by(50_001));
}

/// What a client finds in a 227, as curl and others look for it: the first six numbers.
fn read_227(text: &str) -> SocketAddr {
    let start = text[4..].find(|c: char| c.is_ascii_digit()).unwrap() + 4;
    let end = text[start..].find(|c: char| !c.is_ascii_digit() && c != ',').unwrap() + start;
    let n: Vec<u8> = text[start..end].split(',').map(|n| n.parse().unwrap()).collect();
    SocketAddr::new([n[0], n[1], n[2], n[3]].into(), u16::from_be_bytes([n[4], n[5]]))
}

proptest! {
    /// Whatever addresses, ports and ends of line: the text keeps its length and names the VIP.
    #[test]
    fn any_227_is_rewritten_in_its_place(
        vip in any::<[u8; 4]>(),
        server in any::<[u8; 4]>(),
        port in 1u16..,
        bracket in any::<bool>(),
        tail in "[ .a-z)]{1,20}",
    ) {
        let ip = |octets: [u8; 4]| SocketAddr::new(IpAddr::from(octets), 21);
        prop_assume!(vip[0] != 0 && server[0] != 0 && vip[0] < 224 && server[0] < 224);
        let session = Session::new(Net { client: at("10.9.0.7:20000"), vip: ip(vip), server: ip(server) });
        session.say("PASV\r\n");
        let ([a, b, c, d], [e, f]) = (server, port.to_be_bytes());
        let before = if bracket { "(" } else { "" };
        let text = format!("227 Entering Passive Mode {before}{a},{b},{c},{d},{e},{f}{tail}\r\n");
        let got = session.answer(&text);
        prop_assert_eq!(got.len(), text.len());
        prop_assert_eq!(read_227(&got), SocketAddr::new(IpAddr::from(vip), port));
        let end = text.len() - tail.len() - 2;
        prop_assert_eq!(&got[end..], &text[end..]);
        prop_assert_eq!(&got[..8], "227 Ente");
    }
}

/// A control connection says nothing while a long file comes: it is there when the file has come.
#[test]
fn a_control_connection_lasts_as_long_as_its_data_connections() {
    for net in [v4(), v6()] {
        for active in [false, true] {
            let session = Session::new(net);
            let simulation = &session.simulation;
            let to = SocketAddr::new(net.client.ip(), 25_602);
            let (client_end, vip_port) = if active {
                let family = if net.client.is_ipv4() { 1 } else { 2 };
                session.say(&format!("EPRT |{family}|{}|25602|\r\n", net.client.ip()));
                assert!(session.data_to(to));
                (to, 20)
            } else {
                session.say("EPSV\r\n");
                session.answer("229 Entering Extended Passive Mode (|||50001|)\r\n");
                assert!(session.data_by(50_001));
                (SocketAddr::new(net.client.ip(), 40_001), 50_001)
            };
            let data_vip = SocketAddr::new(net.vip.ip(), vip_port);
            session.reply(SocketAddr::new(net.server.ip(), vip_port), client_end, ACK, "");
            session.request(client_end, data_vip, ACK, "");
            // An hour of data; the control connection's time is a quarter of that.
            for _ in 0..12 {
                simulation.advance(300);
                session.request(client_end, data_vip, ACK, "");
                simulation.sweep();
                simulation.audit().unwrap();
            }
            session.say("NOOP\r\n");
            session.answer("200 ok\r\n");
            // Each on its own again: the data connection ends, and nothing keeps the control connection.
            session.request(client_end, data_vip, ACK | RST, "");
            simulation.advance(11);
            assert_eq!(simulation.sweep(), 1, "the data connection");
            simulation.audit().unwrap();
            simulation.advance(900);
            assert_eq!(simulation.sweep(), 1, "the control connection");
            assert!(simulation.connections().is_empty());
        }
    }
}

#[test]
fn an_expected_data_connection_keeps_its_control_connection_too() {
    let session = Session::new(v4());
    session.say("PASV\r\n");
    session.answer("227 Entering Passive Mode (10,2,0,1,195,81)\r\n");
    // As long as one is expected, 120 seconds, a reset does not end the control connection for good.
    session.request(session.client, session.vip, ACK | RST, "");
    session.simulation.advance(60);
    assert_eq!(session.simulation.sweep(), 0);
    session.simulation.audit().unwrap();
    session.simulation.advance(120);
    // In the order of their slots: one may have to wait for the other.
    let first = session.simulation.sweep();
    assert_eq!(first + session.simulation.sweep(), if first == 1 { 1 } else { 2 });
    session.simulation.advance(60);
    session.simulation.sweep();
    assert!(session.simulation.connections().is_empty());
}

#[test]
fn a_controlled_data_connection_is_not_opened_anew_by_a_syn() {
    let session = Session::new(v4());
    session.say("PASV\r\n");
    session.answer("227 Entering Passive Mode (10,2,0,1,195,81)\r\n");
    assert!(session.data_by(50_001));
    let (from, to) = (at("10.9.0.7:40001"), at("10.1.0.200:50001"));
    session.request(from, to, ACK, "");
    session.request(from, to, ACK | RST, "");
    assert_eq!(session.simulation.state_of(from, to), Some("CLOSE"));
    session.request(from, to, SYN, "");
    assert_eq!(session.simulation.state_of(from, to), Some("SYN_RECV"));
    // Nor is a control connection that is at its end while it has data connections.
    session.request(session.client, session.vip, ACK | RST, "");
    session.request(session.client, session.vip, SYN, "");
    assert_eq!(session.simulation.state_of(session.client, session.vip), Some("SYN_RECV"));
    session.simulation.audit().unwrap();
}
