//! The paths, and what each touches.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::SocketAddr;

use rlvs_packet::protocol::TCP;
use rlvs_packet::tcp::{ACK, SYN};
use rlvs_switch::cell::counted::{take_look_ups, take_touched};
use rlvs_switch::scheduler::Scheduler;
use rlvs_switch::simulation::{CLIENT_SIDE, Cpu, Packet, SERVER_SIDE, Server, Simulation};
use rlvs_switch::steps::{Program, follow};

/// Octets of a cache line.
const LINE: usize = 64;
const SLOTS: usize = 1 << 12;

/// The forwarding methods by their names, whether replies come back this way, and a real server's address.
type Method = (&'static str, fn(SocketAddr) -> Server, bool, [&'static str; 3]);
const V4: [&str; 3] = ["10.9.0.7:20000", "10.1.0.200:80", "10.2.0.1:80"];
const V6: [&str; 3] = ["[fd09::7]:20000", "[fd01::200]:80", "[fd02::1]:80"];
const METHODS: [Method; 6] = [
    ("DR", Server::direct, false, V4),
    ("TUN", Server::tunnel, false, V4),
    ("NAT", Server::nat, true, V4),
    ("IPv6 DR", Server::direct, false, V6),
    ("IPv6 TUN", Server::tunnel, false, V6),
    ("IPv6 NAT", Server::nat, true, V6),
];

/// What a packet's way takes.
struct Way {
    look_ups: usize,
    /// Lines by map.
    lines: BTreeMap<&'static str, usize>,
}

/// All paths, as sections of TOML.
pub fn toml() -> String {
    let (mut look_ups, mut lines) = ("[look_ups]\n".to_string(), "\n[lines]\n".to_string());
    for method in METHODS {
        for (path, way) in ways(method) {
            let name = format!("{}, {path}", method.0);
            let parts: Vec<_> = way.lines.iter().map(|(map, lines)| format!("{map} = {lines}")).collect();
            let _written = writeln!(look_ups, "\"{name}\" = {}", way.look_ups);
            let _written = writeln!(lines, "\"{name}\" = {{ {} }}", parts.join(", "));
        }
    }
    look_ups + &lines
}

fn ways((_, server, is_nat, addresses): Method) -> Vec<(&'static str, Way)> {
    let [client, vip, address] = addresses.map(|address| address.parse().expect("an address"));
    let mut simulation = Simulation::new(SLOTS, 1);
    let service = simulation.add_service(TCP, vip, Scheduler::RoundRobin);
    simulation.add_destination(service, &server(address));
    // Long after FTP's data may have been expected, the last time.
    simulation.advance(60);
    let simulation = simulation;
    let request = |flags| measure(&simulation, CLIENT_SIDE, &Packet::tcp(client, vip, flags));
    let reply = |flags| measure(&simulation, SERVER_SIDE, &Packet::tcp(address, client, flags));
    let mut all = vec![("new connection", request(SYN))];
    if is_nat {
        reply(SYN | ACK);
    }
    request(ACK);
    // The state is established by the one before.
    all.push(("established", request(ACK)));
    if is_nat {
        reply(ACK);
        all.push(("established, reply", reply(ACK)));
    }
    all
}

fn measure(simulation: &Simulation, interface: u32, packet: &Packet) -> Way {
    let cpu = Cpu::new(simulation, 0, interface, &packet.frame());
    let _before = (take_look_ups(), take_touched());
    let (mut look_ups, mut programs) = (0, 0);
    follow(&cpu, |step| {
        // The kernel's program of the step before takes this one at once: `crates/xdp/src/director.rs`.
        if !matches!(step, Program::Schedule) {
            look_ups += of_program(programs, &take_look_ups());
            programs += 1;
        }
    });
    look_ups += of_program(programs, &take_look_ups());
    let touched: BTreeSet<_> = take_touched().into_iter().map(|address| address / LINE * LINE).collect();
    let mut lines = BTreeMap::new();
    for map in touched.into_iter().filter_map(|line| simulation.map_at(line)) {
        *lines.entry(map).or_default() += 1;
    }
    Way { look_ups, lines }
}

/// Look-ups that the kernel's program makes, the so many-th of a packet (from 1 on; none before): of settings and handover only where it begins,
/// but of the handover in the first one, which has none yet.
fn of_program(number: u32, look_ups: &[&str]) -> usize {
    let others = look_ups.iter().filter(|map| !matches!(**map, "settings" | "handover")).count();
    match number {
        0 => 0,
        1 => others + 1 + look_ups.iter().filter(|map| **map == "handover").count(),
        _ => others + 2,
    }
}
