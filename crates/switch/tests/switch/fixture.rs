//! The example network: a client, a director with one service, real servers.

use rlvs_packet::protocol::{TCP, UDP};
use rlvs_switch::Verdict;
use rlvs_switch::scheduler::Scheduler;
use rlvs_switch::simulation::{Decoded, Packet, SERVER_SIDE, Server, Simulation, decode};
use std::net::SocketAddr;

/// An address family's example addresses.
#[derive(Clone, Copy, Debug)]
pub struct Net {
    pub client: SocketAddr,
    pub vip: SocketAddr,
    pub server: SocketAddr,
}

/// Who sends a packet of the example's connection: with which flags of TCP, or chunk of SCTP.
#[derive(Clone, Copy, Debug)]
pub enum Sent {
    Client(u8),
    Server(u8),
}

impl Sent {
    pub fn play(
        self,
        simulation: &Simulation,
        net: Net,
        packet: fn(SocketAddr, SocketAddr, u8) -> Packet,
    ) -> Verdict {
        match self {
            Sent::Client(what) => simulation.receive(&packet(net.client, net.vip, what).frame()).0,
            Sent::Server(what) => {
                let reply = packet(net.server, net.client, what);
                simulation.receive_from(SERVER_SIDE, &reply.frame()).0
            }
        }
    }
}

/// The example in IPv4.
pub fn v4() -> Net {
    Net { client: at("10.9.0.7:20000"), vip: at("10.1.0.200:80"), server: at("10.2.0.1:8080") }
}

/// The example in IPv6.
pub fn v6() -> Net {
    Net { client: at("[fd09::7]:20000"), vip: at("[fd01::200]:80"), server: at("[fd02::1]:8080") }
}

pub fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

/// A director with TCP and UDP services on the VIP, each with one destination, of the indexes 0 and 1.
pub fn director(net: Net, server: &Server) -> Simulation {
    let mut simulation = Simulation::new(1 << 10, 1);
    for protocol in [TCP, UDP] {
        let service = simulation.add_service(protocol, net.vip, Scheduler::RoundRobin);
        simulation.add_destination(service, server);
    }
    simulation
}

/// Sends a packet, which must leave by `interface` with right checksums; what left.
pub fn switched(simulation: &Simulation, packet: &Packet, interface: u32) -> Decoded {
    let (verdict, frame) = simulation.receive(&packet.frame());
    assert_eq!(verdict, Verdict::Redirect(interface), "{packet:?}");
    sound(&frame)
}

/// Sends a packet of the client to its server.
pub fn to_server(simulation: &Simulation, packet: &Packet) -> Decoded {
    switched(simulation, packet, SERVER_SIDE)
}

/// Reads a frame whose checksums must all be right.
pub fn sound(frame: &[u8]) -> Decoded {
    let decoded = decode(frame).unwrap();
    assert_eq!(decoded.wrong_checksums, Vec::<&str>::new(), "{decoded:?}");
    decoded
}

/// The frame must come out as it went in.
pub fn passes_untouched(simulation: &Simulation, frame: &[u8]) {
    let (verdict, after) = simulation.receive(frame);
    assert_eq!((verdict, after), (Verdict::Pass, frame.to_vec()));
}
