//! Up to 80 % of the slots no connection is refused, whatever came and went before.

use rlvs_packet::protocol::{TCP, UDP};
use rlvs_packet::tcp::SYN;
use rlvs_switch::config::Config;
use rlvs_switch::counters::Event;
use rlvs_switch::destination::{Hop, method};
use rlvs_switch::scheduler::Scheduler;
use rlvs_switch::simulation::{CLIENT_SIDE, Cpu, Packet, SERVER_SIDE, Server, Simulation, split_mix};
use rlvs_switch::state::tcp::ESTABLISHED;
use rlvs_switch::table::insert::{Half, Outcome, create, create_at_home};
use rlvs_switch::table::lookup::find;
use rlvs_switch::table::release::release;
use rlvs_switch::table::{Entry, Family, Kind, Tuple, V4, V6, WAYS, slot, trace};
use rlvs_switch::{Memory, Verdict, View};
use std::cell::Cell;
use std::net::SocketAddr;

const SLOTS: usize = 1 << 13;
const SEEDS: [u64; 4] = [1, 2, 3, 0xdead_beef];

/// Tuples as a busy service sees them: many clients' addresses, any ports, one VIP.
fn tuple<F: Family>(number: u64, address: fn(u64) -> F::Address) -> Tuple<F> {
    let mut state = number;
    let random = split_mix(&mut state);
    Tuple {
        source: address(random % 5000),
        destination: address(5001),
        // Each number its own tuple.
        ports: [(number as u16).to_be_bytes(), ((number >> 16) as u16).to_be_bytes()],
        protocol: TCP,
    }
}

fn half<F: Family>(config: &Config, tuple: Tuple<F>, address: fn(u64) -> F::Address) -> Half<F> {
    let entry = Entry {
        destination: 0,
        peer: 0,
        address: address(5002),
        port: [0, 80],
        method: method::DIRECT_ROUTE as u8,
        hop: Hop::UNKNOWN,
    };
    Half::new(config, tuple, entry)
}

/// By the short way first, as the switch does, or not.
fn fill_and_churn<F: Family + std::fmt::Debug>(address: fn(u64) -> F::Address, by_short_way: bool) {
    for seed in SEEDS {
        let mut simulation = Simulation::new(SLOTS, seed);
        let vip: SocketAddr = "10.1.0.200:80".parse().unwrap();
        let service = simulation.add_service(TCP, vip, Scheduler::RoundRobin);
        simulation.add_destination(service, &Server::direct("10.2.0.1:80".parse().unwrap()));
        let cpu = Cpu::new(&simulation, 0, CLIENT_SIDE, &[]);
        let config = simulation.config().unwrap();
        let short = Cell::new(0);
        let add = |number| {
            let half = half(config, tuple::<F>(number, address), address);
            if by_short_way {
                let at_home = || create_at_home(&cpu, config, &half, ESTABLISHED, cpu.now(), None);
                match at_home() {
                    Some((index, false)) => {
                        let found = find(&cpu, config, &half.tuple, half.hash).unwrap();
                        assert_eq!(found.index, index, "number {number}, seed {seed}");
                        assert_eq!(at_home(), None, "number {number} is there already, seed {seed}");
                        short.set(short.get() + 1);
                        return;
                    }
                    outcome => assert_eq!(outcome, None),
                }
            }
            let outcome = create(&cpu, config, &half, (Kind::Forward, ESTABLISHED), cpu.now());
            assert!(matches!(outcome, Outcome::Created(_)), "{outcome:?} for number {number}, seed {seed}");
        };
        let mut numbers: Vec<u64> = (0..SLOTS as u64 * 8 / 10).collect();
        numbers.iter().copied().for_each(add);
        simulation.audit().unwrap();
        assert_eq!(simulation.connections_of(0), (numbers.len() as u32, 0));
        let share = short.get() as f64 / numbers.len() as f64;
        assert_eq!(share > 0.8, by_short_way, "{share} of all by the short way, seed {seed}");

        let mut random = seed;
        for next in 0..2 * SLOTS as u64 {
            let place = split_mix(&mut random) as usize % numbers.len();
            let old = tuple::<F>(numbers[place], address);
            let found = find(&cpu, config, &old, F::hash(config, &old)).unwrap();
            assert!(release::<_, F>(&cpu, found.index, found.meta));
            numbers[place] = 10 * SLOTS as u64 + next;
            add(numbers[place]);
        }
        simulation.audit().unwrap();
        assert_eq!(simulation.connections_of(0), (numbers.len() as u32, 0));
        // Of those that have gone nothing is left once the traces are wiped, of the others all that leads to them.
        let wipe_vacant = || {
            for number in 0..SLOTS / WAYS {
                trace::wipe_vacant(&simulation, F::bucket(&simulation, number as u32).unwrap());
            }
        };
        let wipe_all = || {
            let wiped = (0..SLOTS as u32).map(|index| trace::wipe::<_, F>(&simulation, config, index));
            wiped.filter(|is_left| *is_left).count()
        };
        let left = || {
            let all = (0..SLOTS as u32).map(|index| slot::<_, F>(&simulation, index).unwrap());
            all.filter(|place| place.leads_elsewhere()).count()
        };
        let with_gone = left();
        wipe_vacant();
        let with_some_gone = left();
        let without = wipe_all();
        assert!(
            with_gone > with_some_gone && with_some_gone > without && without > SLOTS / 20,
            "{with_gone} -> {with_some_gone} -> {without}, seed {seed}"
        );
        assert_eq!(wipe_all(), without);
        assert_eq!(left(), without);
        for number in &numbers {
            let known = tuple::<F>(*number, address);
            let found = find(&cpu, config, &known, F::hash(config, &known));
            assert!(found.is_some(), "{known:?} is lost");
        }
        for number in numbers {
            let known = tuple::<F>(number, address);
            let found = find(&cpu, config, &known, F::hash(config, &known)).unwrap();
            assert!(release::<_, F>(&cpu, found.index, found.meta));
        }
        assert_eq!(wipe_all(), 0);
    }
}

#[test]
fn ipv4_takes_80_percent_and_goes_on_doing_so() {
    [false, true]
        .into_iter()
        .for_each(|by_short_way| fill_and_churn::<V4>(|number| number as u32, by_short_way));
}

#[test]
fn ipv6_takes_80_percent_and_goes_on_doing_so() {
    [false, true]
        .into_iter()
        .for_each(|by_short_way| fill_and_churn::<V6>(|number| [0xfd, number], by_short_way));
}

#[test]
fn connections_with_packets_one_way_only_do_not_stand_in_others_way() {
    // The real server never answers (logging, say), so each reply entry's own time passes while its connection lives.
    let mut simulation = Simulation::new(1 << 10, 1);
    let vip: SocketAddr = "10.1.0.200:514".parse().unwrap();
    let service = simulation.add_service(UDP, vip, Scheduler::RoundRobin);
    let server: SocketAddr = "10.2.0.1:514".parse().unwrap();
    simulation.add_destination(service, &Server::nat(server));
    let client = |n: u16| SocketAddr::new([10, 9, (n >> 8) as u8, n as u8].into(), 1000);
    let send = |n| simulation.receive(&Packet::udp(client(n), vip).frame()).0;
    let living = 380; // with their replies, 74 % of the slots
    for round in 0..5 {
        for n in 0..living {
            assert_eq!(send(n), Verdict::Redirect(SERVER_SIDE), "round {round}, client {n}");
        }
        simulation.advance(200);
    }
    for n in living..living + 20 {
        assert_eq!(send(n), Verdict::Redirect(SERVER_SIDE), "new client {n}");
    }
    assert_eq!(simulation.events(Event::TableFull), 0);
    assert_eq!(simulation.connections().iter().filter(|c| !c.reply).count(), living as usize + 20);
    simulation.audit().unwrap();
}

#[test]
fn nat_takes_80_percent_too() {
    for seed in SEEDS {
        let mut simulation = Simulation::new(1 << 12, seed);
        let vip: SocketAddr = "[fd01::200]:80".parse().unwrap();
        let service = simulation.add_service(TCP, vip, Scheduler::RoundRobin);
        simulation.add_destination(service, &Server::nat("[fd02::1]:80".parse().unwrap()));
        let connections = simulation.capacity() * 8 / 10 / 2;
        for n in 0..connections as u16 {
            let client = SocketAddr::new([0xfd09, 0, 0, 0, 0, 0, 0, n].into(), 1000);
            let (verdict, _) = simulation.receive(&Packet::tcp(client, vip, SYN).frame());
            assert_eq!(verdict, Verdict::Redirect(SERVER_SIDE));
        }
        assert_eq!(simulation.connections().len(), 2 * connections);
        assert_eq!(simulation.events(Event::EvictedEmbryonic), 0);
        simulation.audit().unwrap();
    }
}
