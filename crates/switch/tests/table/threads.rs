//! Real threads on one table: nothing is mixed up, and in the end nothing is left.

use rlvs_packet::protocol::{TCP, UDP};
use rlvs_packet::tcp::{ACK, FIN, RST, SYN};
use rlvs_switch::scheduler::Scheduler;
use rlvs_switch::simulation::{CLIENT_SIDE, Cpu, Packet, SERVER_SIDE, Server, Simulation, decode, split_mix};
use rlvs_switch::{Verdict, run};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

const THREADS: usize = 4;
const PACKETS: usize = 3000;

/// Two services, each with servers of its own: a packet that is led astray shows by where it goes.
struct World {
    simulation: Simulation,
    vips: [SocketAddr; 2],
    servers: [[SocketAddr; 2]; 2],
    clients: u64,
}

impl World {
    fn new(slots: usize, clients: u64, six: bool, server: fn(SocketAddr) -> Server) -> World {
        let mut simulation = Simulation::new(slots, 7);
        let ip = |a: u8, b: u8| -> IpAddr {
            if six { [0xfd00 | a as u16, 0, 0, 0, 0, 0, 0, b as u16].into() } else { [10, a, 0, b].into() }
        };
        let vips = [SocketAddr::new(ip(1, 200), 80), SocketAddr::new(ip(1, 201), 80)];
        let servers = [[1, 2], [3, 4]].map(|pair| pair.map(|n| SocketAddr::new(ip(2, n), 8080)));
        for protocol in [TCP, UDP] {
            for (vip, servers) in vips.iter().zip(&servers) {
                let service = simulation.add_service(protocol, *vip, Scheduler::WeightedLeastConnection);
                for address in servers {
                    simulation.add_destination(service, &server(*address));
                }
            }
        }
        World { simulation, vips, servers, clients }
    }

    fn client(&self, random: u64) -> SocketAddr {
        let host = self.vips[0].ip();
        let n = random % self.clients;
        match host {
            IpAddr::V4(_) => SocketAddr::new([10, 9, 0, (n >> 8) as u8].into(), 1000 + n as u16),
            IpAddr::V6(_) => SocketAddr::new([0xfd09, 0, 0, 0, 0, 0, 0, 1].into(), 1000 + n as u16),
        }
    }

    /// Sends random packets of clients and servers and checks where each goes.
    fn storm(&self, thread: usize) {
        let mut random = thread as u64 + 99;
        for _ in 0..PACKETS {
            let (dice, which) = (split_mix(&mut random), split_mix(&mut random));
            let flags = [SYN, SYN, ACK, ACK, ACK, FIN | ACK, RST, SYN | ACK][(dice % 8) as usize];
            let client = self.client(which);
            let side = (which >> 40) as usize % 2;
            let udp = dice >> 8 & 3 == 0;
            if dice >> 16 & 1 == 0 {
                self.request(thread, client, side, flags, udp);
            } else {
                let server = self.servers[side][(which >> 41) as usize % 2];
                self.reply(thread, server, client, side, flags, udp);
            }
        }
    }

    fn switch(&self, thread: usize, interface: u32, packet: &Packet) -> (Verdict, Vec<u8>) {
        let cpu = Cpu::new(&self.simulation, thread, interface, &packet.frame());
        let verdict = run(&cpu);
        (verdict, cpu.into_frame())
    }

    fn request(&self, thread: usize, client: SocketAddr, side: usize, flags: u8, udp: bool) {
        let vip = self.vips[side];
        let packet = if udp { Packet::udp(client, vip) } else { Packet::tcp(client, vip, flags) };
        let (verdict, frame) = self.switch(thread, CLIENT_SIDE, &packet);
        if verdict != Verdict::Redirect(SERVER_SIDE) {
            return;
        }
        let decoded = decode(&frame).unwrap();
        assert!(decoded.wrong_checksums.is_empty(), "{decoded:?}");
        assert_eq!(decoded.inner().source, client.ip());
        let last = decoded.to[5];
        let possible = self.servers[side].map(|s| Server::nat(s).hop);
        let macs = possible.map(|hop| self.mac_of(hop));
        assert!(macs.contains(&last), "a packet for {vip} went to the server with MAC {last}");
        assert!(
            decoded.inner().destination == vip.ip()
                || self.servers[side].iter().any(|s| s.ip() == decoded.inner().destination),
            "{decoded:?} was for {vip}"
        );
    }

    fn mac_of(&self, hop: rlvs_switch::destination::Hop) -> u8 {
        let servers = self.servers.as_flattened();
        let server = servers.iter().find(|s| Server::nat(**s).hop == hop).unwrap();
        match server.ip() {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(ip) => ip.octets()[15],
        }
    }

    fn reply(
        &self,
        thread: usize,
        server: SocketAddr,
        client: SocketAddr,
        side: usize,
        flags: u8,
        udp: bool,
    ) {
        let packet = if udp { Packet::udp(server, client) } else { Packet::tcp(server, client, flags) };
        let (verdict, frame) = self.switch(thread, SERVER_SIDE, &packet);
        if verdict != Verdict::Redirect(CLIENT_SIDE) {
            assert_eq!((verdict, frame), (Verdict::Pass, packet.frame()), "no connection: not ours");
            return;
        }
        let decoded = decode(&frame).unwrap();
        assert!(decoded.wrong_checksums.is_empty(), "{decoded:?}");
        assert_eq!(
            (decoded.inner().source, decoded.inner().destination),
            (self.vips[side].ip(), client.ip()),
            "a reply of {server}"
        );
        assert_eq!(decoded.ports(), Some((80, client.port())));
    }

    /// All threads' storms, with time passing and a director that sweeps.
    fn weather(&self) {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let storms: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || self.storm(n))).collect();
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    self.simulation.advance(20);
                    self.simulation.sweep();
                    std::thread::yield_now();
                }
            });
            let results: Vec<_> = storms.into_iter().map(|storm| storm.join()).collect();
            over.store(true, Ordering::SeqCst);
            results.into_iter().for_each(|result| result.unwrap());
        });
        self.simulation.audit().unwrap();
        self.simulation.advance(2000);
        self.simulation.sweep();
        assert_eq!(self.simulation.connections(), vec![]);
        for index in 0..8 {
            assert_eq!(self.simulation.connections_of(index), (0, 0), "destination {index}");
        }
        self.simulation.audit().unwrap();
    }
}

#[test]
fn few_clients_of_few_tuples_with_nat() {
    World::new(1 << 8, 4, false, Server::nat).weather();
}

#[test]
fn few_clients_of_few_tuples_with_direct_routing() {
    World::new(1 << 8, 4, false, Server::direct).weather();
}

#[test]
fn many_clients_in_a_full_table_with_nat() {
    World::new(1 << 6, 200, false, Server::nat).weather();
}

#[test]
fn many_clients_in_a_full_table_with_direct_routing() {
    World::new(1 << 5, 200, false, Server::direct).weather();
}

#[test]
fn ipv6_in_a_full_table() {
    World::new(1 << 6, 200, true, Server::nat).weather();
}

#[test]
fn threads_that_yield_at_every_step() {
    let mut world = World::new(1 << 4, 6, false, Server::nat);
    world.simulation.between_steps(std::thread::yield_now);
    world.weather();
}
