//! Sequences of frames through the whole switch, on a table that fills up.

use crate::random::Random;
use rlvs_packet::protocol::{TCP, UDP};
use rlvs_packet::tcp::{ACK, FIN, RST, SYN};
use rlvs_switch::destination::Hop;
use rlvs_switch::mark::Rule;
use rlvs_switch::scheduler::Scheduler;
use rlvs_switch::simulation::{
    CLIENT_SIDE, DIRECTOR_MAC, Decoded, Packet, SERVER_SIDE, Server, Simulation, decode, icmp_error,
};
use rlvs_switch::{Memory, Verdict, order};
use std::net::{IpAddr, SocketAddr};

const FRAMES: usize = 300;
/// The lowest of a service's flags that are its scheduler's.
const SCHEDULER_FLAGS: u32 = 0x8;
/// The port of FTP's control connections.
const FTP: u16 = 21;

/// A world, and frames for it.
pub fn round(random: &mut Random) {
    let mut world = World::new(random);
    for _ in 0..FRAMES {
        world.step(random);
    }
    audit(&world.simulation);
    // A template outlives its connections.
    for _ in 0..3 {
        world.simulation.advance(2000);
        world.simulation.sweep();
    }
    assert_eq!(world.simulation.connections(), vec![], "left behind when all has expired");
    audit(&world.simulation);
}

/// A command or an answer of FTP that names this host.
fn ftp_line(random: &mut Random, host: SocketAddr) -> Vec<u8> {
    let port = random.of(&[0, 21, 80, 1024, 20000, 65535]);
    let numbers = match host.ip() {
        IpAddr::V4(ip) => format!("{},{},{}", ip.to_string().replace('.', ","), port >> 8, port & 0xff),
        IpAddr::V6(_) => format!("{port}"),
    };
    let family = if host.is_ipv4() { 1 } else { 2 };
    let line = match random.below(7) {
        0 => format!("PORT {numbers}"),
        1 => format!("EPRT |{family}|{}|{port}|", host.ip()),
        2 => "PASV".into(),
        3 => random.of(&["EPSV", "EPSV ALL", "EPSV 2"]).into(),
        4 => format!("227 Entering Passive Mode ({numbers})."),
        5 => format!("227 {numbers}"),
        _ => format!("229 Entering Extended Passive Mode (|||{port}|)"),
    };
    (line + random.of(&["\r\n", "\r\n", "\r\n", "\n", ""])).into_bytes()
}

/// A message of SIP, of one of some calls.
fn sip_message(random: &mut Random) -> Vec<u8> {
    let first = random.of(&["INVITE sip:bob@example.com SIP/2.0", "SIP/2.0 200 OK", "BYE sip:b SIP/2.0", ""]);
    let end = random.of(&["\r\n", "\r\n", "\r\n", "\n", "\r"]);
    let mut message = format!("{first}{end}");
    for _ in 0..random.below(6) {
        message += "Via: SIP/2.0/UDP 10.9.0.1;branch=z9hG4bK77";
        message += end;
    }
    let title = random.of(&["Call-ID: ", "Call-ID:", "call-id: ", "i: ", "i:\t", "Call-ID", "Call-IDs: "]);
    let call = "a84b4c76e66710".repeat(random.below(8));
    message += &format!("{title}{call}{}@example.com{end}{end}v=0{end}", random.below(4));
    message.into_bytes()
}

fn audit(simulation: &Simulation) {
    if let Err(wrong) = simulation.audit() {
        panic!("{wrong}");
    }
}

struct World {
    simulation: Simulation,
    clients: Vec<SocketAddr>,
    vips: Vec<SocketAddr>,
    servers: Vec<SocketAddr>,
    /// Service and destination, and whether it is there.
    destinations: Vec<(u32, u32, bool)>,
    /// A frame that came out of the switch.
    sent: Vec<u8>,
}

impl World {
    fn new(random: &mut Random) -> World {
        let simulation = Simulation::new(8 << random.below(6), random.number());
        let mut world = World {
            simulation,
            clients: Vec::new(),
            vips: Vec::new(),
            servers: Vec::new(),
            destinations: Vec::new(),
            sent: Vec::new(),
        };
        for n in 0..2 + random.below(60) {
            world.clients.push(address(n % 2 == 1, 9, n));
        }
        for n in 0..6 {
            let (mut vip, six) = (address(n % 2 == 1, 1, n), n % 2 == 1);
            if n < 2 {
                vip.set_port(FTP);
            }
            world.vips.push(vip);
            for protocol in [TCP, UDP] {
                let scheduler = random.of(&Scheduler::ALL[1..]);
                let service = world.simulation.add_service(protocol, vip, scheduler);
                match random.below(6) {
                    0 => {
                        let netmask = random.of(&if six { [128, 64] } else { [u32::MAX, 0xffff] });
                        world.simulation.make_persistent(service, 300, netmask);
                    }
                    1 if protocol == UDP => world.simulation.schedule_each_packet(service),
                    2 => world.simulation.set_flags(service, random.below(4) as u32 * SCHEDULER_FLAGS),
                    _ => {}
                }
                for _ in 0..random.below(4) {
                    world.add_server(random, service, six);
                }
                if protocol == UDP && random.once_in(4) {
                    let whole = if six { 128 } else { u32::MAX };
                    world.simulation.make_persistent(service, 300, whole);
                    world.simulation.tell_calls_apart(service);
                }
            }
        }
        if random.once_in(4) {
            world.simulation.set_mark_rules(&[Rule { mark: 1, ..Rule::default() }]);
            for six in [false, true] {
                let scheduler = random.of(&Scheduler::ALL[1..]);
                let service = world.simulation.add_mark_service(1, if six { 6 } else { 4 }, scheduler);
                world.add_server(random, service, six);
            }
        }
        world.set(random);
        world
    }

    /// Some settings take effect.
    fn set(&self, random: &mut Random) {
        let Some(config) = self.simulation.config() else { return };
        let settings = &config.settings;
        for (cell, values) in [
            (&settings.conn_reuse_mode, [0, 1, 2, 3]),
            (&settings.expire_nodest_conn, [0, 0, 0, 1]),
            (&settings.expire_quiescent_template, [0, 0, 0, 1]),
            (&settings.sloppy_tcp, [0, 0, 0, 1]),
            (&settings.sloppy_sctp, [0, 0, 0, 1]),
            (&settings.schedule_icmp, [0, 0, 0, 1]),
            (&settings.pmtu_disc, [0, 1, 1, 1]),
            (&settings.secure_tcp, [0, 0, 0, 1]),
            (&settings.drop_rate, [0, 0, 0, 10]),
        ] {
            cell.store(random.of(&values), order::PLAIN);
        }
    }

    fn add_server(&mut self, random: &mut Random, service: u32, six: bool) {
        let method = random.of(&[0, 0, 1, 2, 3]);
        let host = random.below(6);
        // Only a tunnel's end may be of the other family.
        let server = address(if method == 2 { random.once_in(2) } else { six }, 2, host);
        self.servers.push(server);
        let hop = Hop::new(
            random.of(&[CLIENT_SIDE, SERVER_SIDE, SERVER_SIDE, 0, u32::MAX]),
            [2, 0, 0, 0, 1, host as u8],
            DIRECTOR_MAC,
            random.of(&[0, 0, 5]),
        );
        let tunnel = match random.below(3) {
            0 => Server::tunnel(server),
            kind => Server::tunnel_of(kind as u32, random.below(4) as u32, server),
        };
        let server = Server {
            hop,
            tunnel: tunnel.tunnel,
            mtu: random.of(&[1500, 1500, 1500, 100, 0]),
            weight: random.below(4) as u32,
            ..Server::new(method, server)
        };
        let index = self.simulation.add_destination(service, &server);
        self.destinations.push((service, index, true));
    }

    fn step(&mut self, random: &mut Random) {
        match random.below(30) {
            0 => self.simulation.advance_ticks(random.below(4000) as u32),
            1 => {
                self.simulation.sweep();
            }
            2 => self.change(random),
            3 => audit(&self.simulation),
            _ => {
                let interface = random.of(&[CLIENT_SIDE, SERVER_SIDE]);
                for mut frame in self.frames(random) {
                    if random.once_in(3) {
                        random.spoil(&mut frame);
                    }
                    self.switch(interface, &frame);
                }
                for (_, frame) in self.simulation.receive_kept() {
                    let _what_was_spoilt = decode(&frame);
                }
            }
        }
    }

    fn change(&mut self, random: &mut Random) {
        if self.destinations.is_empty() {
            return;
        }
        let which = random.below(self.destinations.len());
        let (service, index, present) = &mut self.destinations[which];
        if *present {
            self.simulation.remove_destination(*service, *index);
        } else {
            self.simulation.restore_destination(*service, *index);
        }
        *present = !*present;
    }

    /// A packet's frame, its fragments in some order, an error about it, or the packet behind extension headers.
    fn frames(&self, random: &mut Random) -> Vec<Vec<u8>> {
        let packet = self.packet(random);
        let plain = Packet { vlan: None, padding: 0, ..packet.clone() };
        match random.below(8) {
            0 => {
                let mut fragments = plain.fragments(8 * (1 + random.below(180)));
                let first = random.below(fragments.len());
                fragments.rotate_left(first);
                fragments
            }
            1 => {
                let kind = random.of(&[(3, 4), (3, 1), (11, 0), (2, 0), (1, 4), (4, 1), (8, 0), (128, 0)]);
                let quoted = plain.frame();
                let end = 14 + random.below(quoted.len() - 13);
                let (sender, receiver) = (plain.destination.ip(), plain.source.ip());
                vec![icmp_error(sender, receiver, kind, random.number() as u32, &quoted[14..end])]
            }
            2 if plain.source.is_ipv6() => {
                let one = |random: &mut Random| {
                    (random.of(&[0, 43, 60, 60]), vec![random.of(&[0, 1]); 8 * (1 + random.below(12)) - 2])
                };
                let headers: Vec<_> = (0..1 + random.below(8)).map(|_| one(random)).collect();
                vec![plain.with_extensions(&headers)]
            }
            // About a packet that left, perhaps in a tunnel.
            3 if self.sent.len() > 60 => {
                let kind = random.of(&[(3, 4), (3, 1), (11, 0), (2, 0), (1, 4), (3, 0)]);
                let end = 40 + random.below(self.sent.len() - 40);
                let Ok(sent) = decode(&self.sent) else { return Vec::new() };
                let Some(outer) = sent.ip.first() else { return Vec::new() };
                vec![icmp_error(outer.destination, outer.source, kind, 1400, &self.sent[14..end])]
            }
            _ => vec![packet.frame()],
        }
    }

    /// A client's packet or a server's.
    fn packet(&self, random: &mut Random) -> Packet {
        let client = random.of(&self.clients);
        let same_family: Vec<SocketAddr> = if random.once_in(3) { &self.servers } else { &self.vips }
            .iter()
            .copied()
            .filter(|other| other.is_ipv4() == client.is_ipv4())
            .collect();
        let other = if same_family.is_empty() { client } else { random.of(&same_family) };
        let (source, destination) = if random.once_in(3) { (other, client) } else { (client, other) };
        let packet = if random.once_in(3) {
            Packet::udp(source, destination)
        } else if random.once_in(4) {
            Packet::sctp(source, destination, random.of(&[1, 1, 1, 2, 3, 6, 7, 8, 10, 10, 11, 14]))
        } else {
            Packet::tcp(
                source,
                destination,
                random.of(&[SYN, SYN, SYN, ACK, ACK, SYN | ACK, FIN | ACK, RST, 0, 0xff]),
            )
        };
        let words = if source.is_ipv4() && random.once_in(8) { random.below(11) } else { 0 };
        Packet {
            hops: random.of(&[64, 64, 64, 2, 1, 0]),
            class: random.number() as u8,
            dont_fragment: random.once_in(2),
            options: [1, 1, 1, 0].repeat(words),
            vlan: random.of(&[None, None, Some(7), Some(0)]),
            checksum: !random.once_in(8),
            payload: match random.below(6) {
                0 | 1 => {
                    let host = if random.once_in(2) { source } else { destination };
                    ftp_line(random, host)
                }
                2 => sip_message(random),
                _ => vec![random.number() as u8; random.of(&[0, 1, 7, 60, 1400, 1480, 2000])],
            },
            padding: random.of(&[0, 0, 6, 100]),
            ..packet
        }
    }

    fn switch(&mut self, interface: u32, frame: &[u8]) {
        let (verdict, after) = self.simulation.receive_from(interface, frame);
        match verdict {
            Verdict::Drop => {}
            Verdict::Pass if after == frame => {}
            // Changed for a server of NAT on the director itself.
            Verdict::Pass => {
                if let Some(passed) = rightly(frame, &after) {
                    let host = passed.inner().destination;
                    assert!(
                        self.servers.iter().any(|server| server.ip() == host),
                        "passed changed: {passed:?}"
                    );
                }
            }
            Verdict::Transmit | Verdict::Redirect(_) => {
                let Some(sent) = rightly(frame, &after) else { return };
                assert!(sent.inner().hops > 0, "a packet without hops left: {sent:?}");
                self.sent = after;
            }
        }
    }
}

/// What the frame has become, which is well formed if it was; `None` if it was not.
fn rightly(frame: &[u8], after: &[u8]) -> Option<Decoded> {
    let before = decode(frame).ok()?;
    let is = match decode(after) {
        Ok(is) => is,
        Err(error) => panic!("{error}: {frame:x?} became {after:x?}"),
    };
    if before.wrong_checksums.is_empty() {
        assert!(is.wrong_checksums.is_empty(), "{is:?}: {frame:x?} became {after:x?}");
    }
    Some(is)
}

fn address(six: bool, net: u8, n: usize) -> SocketAddr {
    let ip: IpAddr = if six {
        [0xfd00 | net as u16, 0, 0, 0, 0, 0, 0, 1 + n as u16].into()
    } else {
        [10, net, 0, 1 + n as u8].into()
    };
    SocketAddr::new(ip, 80)
}
