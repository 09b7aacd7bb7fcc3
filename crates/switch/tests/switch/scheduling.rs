//! Schedulers against recordings of the Linux kernel's IPVS, and against their definitions.
//!
//! A recording (`traces/*.jsonl`) is a scenario (first line), then a step a line: connections opened and closed, changed
//! weights, servers removed and added, with the server that IPVS chose; the last line has the connections that it
//! counted at the end.

use crate::fixture::*;
use proptest::prelude::*;
use rlvs_packet::protocol::{TCP, UDP};
use rlvs_packet::tcp::{ACK, FIN, RST, SYN};
use rlvs_switch::mark::Rule;
use rlvs_switch::scheduler::Scheduler;
use rlvs_switch::simulation::{Packet, SERVER_SIDE, Server, Simulation, decode};
use rlvs_switch::{Memory, Verdict};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

macro_rules! recordings {
    ($($test:ident: $name:literal,)*) => {
        $(#[test]
        fn $test() {
            replay(include_str!(concat!("traces/", $name, ".jsonl")));
        })*
    };
}

recordings! {
    rr: "rr",
    rr_with_a_weight_of_0: "rr-weight0",
    rr_through_changes: "rr-changes",
    rr_with_all_weights_0: "rr-all-quiesced",
    rr_of_udp: "rr-udp",
    rr_of_udp_with_ports_used_again: "rr-udp-reuse",
    rr_of_ipv6: "rr-v6",
    rr_of_a_mark: "fwmark-rr",
    rr_with_persistence: "rr-persistent",
    rr_packet_by_packet: "rr-udp-ops",
    wrr: "wrr",
    wrr_with_a_common_divisor: "wrr-common-divisor",
    wrr_with_a_weight_of_0: "wrr-weight0",
    wrr_through_changes: "wrr-changes",
    wrr_with_big_weights: "wrr-big-weights",
    lc: "lc",
    wlc: "wlc",
    wlc_with_equal_weights: "wlc-equal",
    wlc_with_weights_of_0: "wlc-weight0",
    sed_with_equal_weights: "sed-equal",
    fo: "fo",
    fo_with_thresholds: "fo-thresholds",
    ovf: "ovf",
    dh_of_one_address: "dh-one-address",
    dh: "dh",
    dh_with_a_weight_of_0: "dh-quiesced",
    lblc: "lblc",
    lblc_of_busy_servers: "lblc-overload",
    lblc_with_a_weight_of_0: "lblc-quiesced",
    lblcr: "lblcr",
    sh: "sh",
    sh_by_weight: "sh-weights",
    sh_through_changes: "sh-changes",
    sh_with_a_weight_of_0: "sh-quiesced",
    sh_with_fallback: "sh-fallback",
    sh_with_ports: "sh-port",
    sh_of_ipv6: "sh-v6",
    mh: "mh",
    mh_by_weight: "mh-weights",
    mh_through_changes: "mh-changes",
    mh_with_a_weight_of_0: "mh-quiesced",
    mh_with_fallback: "mh-fallback",
    mh_with_ports: "mh-port",
    mh_of_ipv6: "mh-v6",
}

/// A recording being replayed.
struct Replay {
    simulation: Simulation,
    service: u32,
    protocol: u8,
    vip: SocketAddr,
    /// The servers' port.
    port: u16,
    /// Destinations by the recording's number of the server.
    destinations: HashMap<u64, u32>,
    deleted: HashSet<u64>,
    /// Client, address asked and server of the open connections.
    open: HashMap<u64, (SocketAddr, SocketAddr, u64)>,
}

fn replay(recording: &str) {
    let mut lines = recording.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut replay = Replay::new(&lines.next().unwrap());
    for (number, line) in lines.enumerate() {
        replay.step(&line, number + 2);
    }
    replay.simulation.audit().unwrap();
}

impl Replay {
    fn new(scenario: &Value) -> Replay {
        let vip = if scenario["fam"] == 6 { v6().vip } else { v4().vip };
        let protocol = if scenario["proto"] == "u" { UDP } else { TCP };
        let mut simulation = Simulation::new(1 << 12, 3);
        let scheduler = Scheduler::from_name(scenario["sched"].as_str().unwrap()).unwrap();
        // No time passes, and each refusal is to be seen.
        simulation.config().unwrap().errors_per_tick.store(u32::MAX, rlvs_switch::order::PLAIN);
        let service = if scenario["kind"] == "fwm" {
            simulation.set_mark_rules(&[Rule { mark: 1, ..Rule::default() }]);
            simulation.add_mark_service(1, 4, scheduler)
        } else {
            simulation.add_service(protocol, vip, scheduler)
        };
        let option = scenario["opts"].as_str().unwrap();
        simulation.set_flags(service, if option.ends_with("-fallback") { 0x8 } else { 0 });
        if option.ends_with("-port") {
            simulation.set_flags(service, 0x10);
        }
        if let Some(seconds) = option.strip_prefix("-p ") {
            simulation.make_persistent(service, seconds.parse().unwrap(), u32::MAX);
        }
        if option == "--ops" {
            simulation.schedule_each_packet(service);
        }
        let port = recorded_port(scenario["name"].as_str().unwrap());
        let (destinations, deleted, open) = Default::default();
        let mut replay = Replay { simulation, service, protocol, vip, port, destinations, deleted, open };
        for (n, weight) in scenario["weights"].as_array().unwrap().iter().enumerate() {
            replay.add(n as u64 + 1, weight);
        }
        for (server, options) in scenario["sopts"].as_object().unwrap() {
            let upper = options.as_str().unwrap().strip_prefix("-x ").unwrap().parse().unwrap();
            let destination = replay.destinations[&server.parse().unwrap()];
            replay.simulation.destination_mut(destination).upper.store(upper, rlvs_switch::order::PLAIN);
        }
        replay
    }

    fn add(&mut self, server: u64, weight: &Value) {
        let weight = weight.as_u64().unwrap() as u32;
        if let Some(index) = self.destinations.get(&server) {
            self.simulation.restore_destination(self.service, *index);
            self.simulation.set_weight(self.service, *index, weight);
            self.deleted.remove(&server);
        } else {
            let destination = Server::nat(self.address(server)).weight(weight);
            let index = self.simulation.add_destination(self.service, &destination);
            self.destinations.insert(server, index);
        }
    }

    fn address(&self, server: u64) -> SocketAddr {
        match self.vip.ip() {
            IpAddr::V4(_) => SocketAddr::new([10, 2, 0, server as u8].into(), self.port),
            IpAddr::V6(_) => SocketAddr::new([0xfd02, 0, 0, 0, 0, 0, 0, server as u16].into(), self.port),
        }
    }

    fn step(&mut self, line: &Value, number: usize) {
        let of = |field: &str| line[field].as_u64().unwrap();
        match line["op"].as_str().unwrap() {
            "open" | "send" => self.open(line, number),
            "close" => self.close(of("id")),
            "weight" => {
                self.simulation.set_weight(self.service, self.destinations[&of("rs")], of("w") as u32);
            }
            "del" => {
                self.simulation.remove_destination(self.service, self.destinations[&of("rs")]);
                self.deleted.insert(of("rs"));
            }
            "add" => self.add(of("rs"), &line["w"]),
            "end" => {
                for (server, index) in &self.destinations {
                    if self.deleted.contains(server) {
                        continue;
                    }
                    let name = server.to_string();
                    let wanted =
                        ["active", "inactive"].map(|kind| line[kind][&name].as_u64().unwrap() as u32);
                    assert_eq!(self.simulation.connections_of(*index), wanted.into(), "server {server}");
                }
            }
            other => panic!("line {number}: unknown step {other}"),
        }
    }

    fn open(&mut self, line: &Value, number: usize) {
        let host: IpAddr = line["src"].as_str().unwrap().parse().unwrap();
        let client = SocketAddr::new(host, line["sport"].as_u64().unwrap() as u16);
        let vip = match line["dst"].as_str() {
            Some(address) => SocketAddr::new(address.parse().unwrap(), self.vip.port()),
            None => self.vip,
        };
        let first =
            if self.protocol == UDP { Packet::udp(client, vip) } else { Packet::tcp(client, vip, SYN) };
        let (verdict, frame) = self.simulation.receive(&first.frame());
        let Some(wanted) = line["got"].as_u64() else {
            assert_eq!((line["got"].as_str(), verdict), (Some("refused"), Verdict::Transmit));
            return;
        };
        assert_eq!(verdict, Verdict::Redirect(SERVER_SIDE), "line {number}");
        let chosen = decode(&frame).unwrap().inner().destination;
        assert_eq!(chosen, self.address(wanted).ip(), "line {number}: IPVS chose {wanted}");
        if let Some(id) = line["id"].as_u64() {
            self.open.insert(id, (client, vip, wanted));
            self.reply(client, wanted, SYN | ACK);
            self.request(client, vip, ACK);
        }
    }

    fn close(&mut self, id: u64) {
        let Some((client, vip, server)) = self.open.remove(&id) else { return };
        if self.deleted.contains(&server) {
            self.request(client, vip, RST | ACK);
            self.reply(client, server, RST | ACK);
            return;
        }
        self.request(client, vip, FIN | ACK);
        self.reply(client, server, ACK);
        self.reply(client, server, FIN | ACK);
        self.request(client, vip, ACK);
    }

    fn request(&self, client: SocketAddr, vip: SocketAddr, flags: u8) {
        self.simulation.receive(&Packet::tcp(client, vip, flags).frame());
    }

    fn reply(&self, client: SocketAddr, server: u64, flags: u8) {
        let reply = Packet::tcp(self.address(server), client, flags);
        self.simulation.receive_from(SERVER_SIDE, &reply.frame());
    }
}

/// The servers' port in a recording; only mh's choices depend on it.
fn recorded_port(name: &str) -> u16 {
    match name {
        "mh" => 1036,
        "mh-weights" => 1037,
        "mh-quiesced" => 1038,
        "mh-port" => 1039,
        "mh-fallback" => 1040,
        "mh-changes" => 1042,
        "mh-v6" => 1043,
        _ => 8080,
    }
}

/// The choices for so many new connections, as numbers of servers in the order in which they were added.
fn choices(scheduler: Scheduler, weights: &[u32], connections: u16) -> Vec<Option<usize>> {
    let mut simulation = Simulation::new(1 << 13, 3);
    let service = simulation.add_service(TCP, v4().vip, scheduler);
    for (n, weight) in weights.iter().enumerate() {
        let address = SocketAddr::new([10, 2, 0, n as u8].into(), 80);
        simulation.add_destination(service, &Server::direct(address).weight(*weight));
    }
    let chosen = |n| {
        let client = SocketAddr::new(v4().client.ip(), 1000 + n);
        let (verdict, frame) = simulation.receive(&Packet::tcp(client, v4().vip, SYN).frame());
        (verdict == Verdict::Redirect(SERVER_SIDE)).then(|| frame[5] as usize)
    };
    (0..connections).map(chosen).collect()
}

#[test]
fn wrr_by_the_book() {
    // The list is in the order of adding, reversed: C is the first that was added. The threshold at which the first
    // choice is made depends on how the weights came about, so a turn may start anywhere.
    let names = |weights: [u32; 3]| -> String {
        let letters = ["C", "B", "A"];
        choices(Scheduler::WeightedRoundRobin, &weights, 27)
            .into_iter()
            .map(|n| letters[n.unwrap()])
            .collect()
    };
    assert!(names([2, 3, 4]).contains("AABABCABCAABABCABC"));
    assert!(names([6, 4, 2]).contains("CBCABCCBCABC"));
    assert!(names([1, 1, 5]).contains("AAAAABCAAAAABC"));
}

#[test]
fn sed_and_nq_by_the_book() {
    // The second server is nine times as fast, and heads the list.
    let with = |scheduler| -> Vec<usize> {
        choices(scheduler, &[1, 9], 12).into_iter().map(|n| n.unwrap()).collect()
    };
    assert_eq!(with(Scheduler::ShortestExpectedDelay), [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1]);
    assert_eq!(with(Scheduler::NeverQueue), [1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
}

#[test]
fn lblc_and_lblcr_by_the_book() {
    let with = |scheduler| -> Vec<usize> {
        choices(scheduler, &[4, 2], 14).into_iter().map(|n| n.unwrap()).collect()
    };
    // The second server heads the list. With three connections it has more than weight, and the first one idles. Later
    // the first one has more than weight, too, but nobody idles.
    assert_eq!(with(Scheduler::LocalityBased), [1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    // Both serve the address from the fourth connection on.
    assert_eq!(with(Scheduler::LocalityBasedReplicated), [1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1]);
}

#[test]
fn who_serves_an_address_for_long_with_others_leaves_if_it_is_the_most_loaded() {
    let mut simulation = Simulation::new(1 << 10, 3);
    let service = simulation.add_service(TCP, v4().vip, Scheduler::LocalityBasedReplicated);
    for (n, weight) in [4, 2].into_iter().enumerate() {
        let address = SocketAddr::new([10, 2, 0, n as u8].into(), 80);
        simulation.add_destination(service, &Server::direct(address).weight(weight));
    }
    let chosen = |port| {
        let client = SocketAddr::new(v4().client.ip(), port);
        simulation.receive(&Packet::tcp(client, v4().vip, SYN).frame()).1[5]
    };
    let first: Vec<u8> = (1000..1004).map(chosen).collect();
    assert_eq!(first, [1, 1, 1, 0]);
    // The first server serves alone from then on: busy, but nobody idles.
    simulation.advance(86_401);
    let later: Vec<u8> = (1004..1014).map(chosen).collect();
    assert_eq!(later, [0; 10]);
}

#[test]
fn twos_spreads_by_weight() {
    let weights = [5, 3, 2, 1, 0];
    let connections = 1100;
    let chosen = choices(Scheduler::PowerOfTwo, &weights, connections);
    for (n, weight) in weights.into_iter().enumerate() {
        let share = chosen.iter().filter(|choice| **choice == Some(n)).count() as i32;
        let wanted = weight as i32 * connections as i32 / 11;
        assert!((share - wanted).abs() <= wanted / 5, "server {n}: {share}, expected about {wanted}");
    }
    assert!(chosen.iter().all(Option::is_some));
    // Not one after the other: the lot decides.
    assert!(chosen.windows(4).any(|four| four.iter().all(|choice| *choice == four[0])));
}

#[test]
fn with_fallback_whoever_is_left_is_found() {
    // All but one of many destinations are at rest: mh's search takes several runs of its program.
    for scheduler in [Scheduler::SourceHashing, Scheduler::MaglevHashing] {
        let mut simulation = Simulation::new(1 << 10, 3);
        let service = simulation.add_service(TCP, v4().vip, scheduler);
        simulation.set_flags(service, 0x8);
        let servers: Vec<u32> = (0..200)
            .map(|n| {
                let address = SocketAddr::new([10, 2, 0, n].into(), 80);
                simulation.add_destination(service, &Server::direct(address))
            })
            .collect();
        for server in &servers[1..] {
            simulation.set_weight(service, *server, 0);
        }
        for n in 0..40 {
            let client = SocketAddr::new([10, 9, 0, n].into(), 1000);
            let (verdict, frame) = simulation.receive(&Packet::tcp(client, v4().vip, SYN).frame());
            assert_eq!((verdict, frame[5]), (Verdict::Redirect(SERVER_SIDE), 0), "{}", scheduler.name());
        }
    }
}

#[test]
fn a_service_has_room_for_as_many_destinations_as_it_may() {
    let most = rlvs_switch::scheduler::MEMBERS_MAX as usize;
    for scheduler in &Scheduler::ALL[1..] {
        if [Scheduler::DestinationHashing, Scheduler::SourceHashing].contains(scheduler) {
            // Their tables have 256 slots, as in IPVS: the last of more destinations gets none.
            continue;
        }
        let mut simulation = Simulation::new(1 << 10, 3);
        let service = simulation.add_service(TCP, v4().vip, *scheduler);
        let server = |n: usize| {
            let address = SocketAddr::new([10, 2, (n >> 8) as u8, n as u8].into(), 80);
            Server::direct(address).weight(if n == 0 { 3 } else { 0 })
        };
        simulation.add_destinations(service, (0..most).map(server));
        let last = *simulation.members_of(service).last().unwrap();
        let (verdict, _) = simulation.receive(&Packet::tcp(v4().client, v4().vip, SYN).frame());
        assert_eq!(verdict, Verdict::Redirect(SERVER_SIDE), "{}", scheduler.name());
        assert_eq!(simulation.connections_of(last), (1, 0), "{}: the last of the list", scheduler.name());
    }
}

proptest! {
    #[test]
    fn choices_are_those_of_the_definition(weights in proptest::collection::vec(0u32..12, 0..7)) {
        let connections = 60;
        // Members in the order of the list.
        let list: Vec<(usize, u64)> =
            weights.iter().enumerate().rev().map(|(n, w)| (n, *w as u64)).filter(|(_, w)| *w > 0).collect();
        let highest = list.iter().map(|(_, w)| *w).max().unwrap_or(0);
        let divisor = (1..=highest).rev().find(|d| list.iter().all(|(_, w)| w % d == 0)).unwrap_or(1);
        let rounds = (1..=highest).rev().filter(|t| t % divisor == 0);
        let by_weight: Vec<usize> =
            rounds.flat_map(|t| list.iter().filter(move |(_, w)| *w >= t).map(|(n, _)| *n)).collect();
        let in_turn = |turn: &[usize]| -> Vec<Option<usize>> {
            (0..connections as usize).map(|i| turn.get(i % turn.len().max(1)).copied()).collect()
        };
        let members: Vec<usize> = list.iter().map(|(n, _)| *n).collect();
        prop_assert_eq!(choices(Scheduler::RoundRobin, &weights, connections), in_turn(&members));
        let weighted = choices(Scheduler::WeightedRoundRobin, &weights, connections);
        let starts_at = |start: usize| {
            let turn = [&by_weight[start..], &by_weight[..start]].concat();
            in_turn(&turn) == weighted
        };
        prop_assert!((0..by_weight.len().max(1)).any(starts_at), "{:?} for {:?}", weighted, by_weight);
        for (scheduler, weighted) in
            [(Scheduler::LeastConnection, false), (Scheduler::WeightedLeastConnection, true)]
        {
            let mut load = vec![0u64; weights.len()];
            let expected: Vec<Option<usize>> = (0..connections)
                .map(|_| {
                    let least = list.iter().min_by(|(a, v), (b, w)| {
                        let (v, w) = if weighted { (*v, *w) } else { (1, 1) };
                        (load[*a] * w).cmp(&(load[*b] * v))
                    });
                    least.map(|(n, _)| {
                        load[*n] += 1;
                        *n
                    })
                })
                .collect();
            prop_assert_eq!(choices(scheduler, &weights, connections), expected);
        }
    }
}
