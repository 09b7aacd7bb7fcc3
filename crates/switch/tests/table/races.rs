//! Two or three CPUs in the same few steps, in hundreds of orders that a scheduler of threads thinks up.

use rlvs_packet::protocol::TCP;
use rlvs_packet::tcp::{ACK, FIN, RST, SYN};
use rlvs_switch::config::Tick;
use rlvs_switch::destination::method;
use rlvs_switch::run;
use rlvs_switch::scheduler::Scheduler;
use rlvs_switch::simulation::{CLIENT_SIDE, Cpu, Packet, SERVER_SIDE, Server, Simulation};
use rlvs_switch::state::tcp;
use rlvs_switch::sync::Import;
use shuttle::Runner;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

const ORDERS: usize = 400;
/// Octets of stack for each CPU.
const STACK: usize = 1 << 20;

fn client() -> SocketAddr {
    "10.9.0.7:20000".parse().unwrap()
}

fn vip(n: u8) -> SocketAddr {
    SocketAddr::new([10, 1, 0, n].into(), 80)
}

fn server(n: u8) -> SocketAddr {
    SocketAddr::new([10, 2, 0, n].into(), 8080)
}

/// VIP 1 with servers 1 and 2, VIP 2 with server 1.
fn world(method: fn(SocketAddr) -> Server) -> Simulation {
    let mut simulation = Simulation::new(16, 1);
    let first = simulation.add_service(TCP, vip(1), Scheduler::RoundRobin);
    simulation.add_destination(first, &method(server(1)));
    simulation.add_destination(first, &method(server(2)));
    let second = simulation.add_service(TCP, vip(2), Scheduler::RoundRobin);
    simulation.add_destination(second, &method(server(1)));
    simulation.between_steps(shuttle::thread::yield_now);
    simulation
}

/// What one CPU does.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// The client's packet for a VIP.
    Request(u8, u8),
    /// A server's packet.
    Reply(u8, u8),
    /// Time passes, and the director sweeps.
    Sweep(u32),
    /// Another director tells of the client's connection to VIP 1 in this state, with this server.
    Import(u8, u8),
}

impl Act {
    fn play(self, simulation: &Simulation, cpu: usize) {
        let (interface, packet) = match self {
            Act::Request(to, flags) => (CLIENT_SIDE, Packet::tcp(client(), vip(to), flags)),
            Act::Reply(from, flags) => (SERVER_SIDE, Packet::tcp(server(from), client(), flags)),
            Act::Sweep(seconds) => {
                simulation.advance(seconds);
                simulation.sweep();
                return;
            }
            Act::Import(from, state) => {
                simulation.import(4, &told_of(server(from), state));
                return;
            }
        };
        run(&Cpu::new(simulation, cpu, interface, &packet.frame()));
    }
}

/// The client's connection to VIP 1, as another director tells of it. Server 1 was added first.
fn told_of(server: SocketAddr, state: u8) -> Import {
    let words = |at: SocketAddr| match at.ip() {
        IpAddr::V4(ip) => [u32::from_ne_bytes(ip.octets()), 0, 0, 0],
        IpAddr::V6(_) => unreachable!("the world is of IPv4"),
    };
    let [a, b] = [client(), vip(1)].map(|at| at.port().to_be_bytes());
    Import {
        client: words(client()),
        virtual_address: words(vip(1)),
        server: words(server),
        ports: [a, b],
        server_port: server.port().to_be_bytes(),
        protocol: TCP,
        method: method::MASQUERADE as u8,
        destination: words(server)[0].to_ne_bytes()[3] as u32 - 1,
        state: state.into(),
        timeout: Tick::in_seconds(60),
        ..Import::default()
    }
}

/// Plays `before` on one CPU, then each of `at_once` on a CPU of its own, in many orders.
fn race(method: fn(SocketAddr) -> Server, before: &'static [Act], at_once: &'static [&'static [Act]]) {
    race_in(move || world(method), before, at_once);
}

/// [`race`] in a world of one's own.
fn race_in(
    world: impl Fn() -> Simulation + Copy + Send + Sync + 'static,
    before: &'static [Act],
    at_once: &'static [&'static [Act]],
) {
    let once = move || {
        let simulation = Arc::new(world());
        before.iter().for_each(|act| act.play(&simulation, 0));
        let cpus: Vec<_> = at_once
            .iter()
            .enumerate()
            .map(|(cpu, acts)| {
                let simulation = Arc::clone(&simulation);
                shuttle::thread::spawn(move || acts.iter().for_each(|act| act.play(&simulation, cpu)))
            })
            .collect();
        cpus.into_iter().for_each(|cpu| cpu.join().unwrap());
        simulation.audit().unwrap();
        // Twice: a template is put off while its last connection is still in the table.
        for _ in 0..2 {
            simulation.advance(2000);
            simulation.sweep();
        }
        assert_eq!(simulation.connections(), vec![]);
        simulation.audit().unwrap();
    };
    let mut config = shuttle::Config::new();
    // Without optimisation, a packet's steps take more than the 32 KiB of the default.
    config.stack_size = STACK;
    Runner::new(RandomScheduler::new(ORDERS), config.clone()).run(once);
    Runner::new(PctScheduler::new(3, ORDERS), config).run(once);
}

/// As [`world`], with a persistent first service.
fn persistent_world() -> Simulation {
    let mut simulation = world(Server::nat);
    simulation.make_persistent(0, 30, u32::MAX);
    simulation
}

#[test]
fn a_connection_is_told_of_while_its_packets_come() {
    const REQUESTS: &[Act] = &[Act::Request(1, SYN), Act::Request(1, ACK)];
    const SAME: &[Act] = &[Act::Import(2, tcp::ESTABLISHED), Act::Import(2, tcp::CLOSE)];
    const OTHER: &[Act] = &[Act::Import(1, tcp::ESTABLISHED), Act::Import(2, tcp::FIN_WAIT)];
    race(Server::nat, &[], &[REQUESTS, SAME, &[Act::Reply(2, SYN | ACK), Act::Reply(2, RST)]]);
    race(Server::nat, &[Act::Request(1, SYN)], &[REQUESTS, OTHER, SAME]);
    race(
        Server::nat,
        &[Act::Import(2, tcp::ESTABLISHED)],
        &[REQUESTS, OTHER, &[Act::Sweep(61), Act::Sweep(100)]],
    );
}

#[test]
fn one_template_for_a_client_on_two_cpus_while_the_last_one_expires() {
    const OPEN: &[Act] = &[Act::Request(1, SYN)];
    race_in(persistent_world, &[], &[OPEN, OPEN, &[Act::Sweep(31), Act::Sweep(100)]]);
    // The reset connection is over after 10 seconds, its template after 30.
    race_in(
        persistent_world,
        &[Act::Request(1, SYN), Act::Reply(2, RST), Act::Sweep(9)],
        &[OPEN, OPEN, &[Act::Sweep(2), Act::Sweep(30)]],
    );
}

#[test]
fn one_connection_created_by_three_cpus() {
    race(
        Server::nat,
        &[],
        &[&[Act::Request(1, SYN)], &[Act::Request(1, SYN)], &[Act::Request(1, SYN), Act::Request(1, ACK)]],
    );
    race(Server::direct, &[], &[&[Act::Request(1, SYN)], &[Act::Request(1, SYN)], &[Act::Request(1, SYN)]]);
}

#[test]
fn a_connection_created_while_the_one_before_it_expires() {
    for method in [Server::nat, Server::direct] {
        race(
            method,
            &[Act::Request(1, SYN), Act::Request(1, ACK), Act::Request(1, RST)],
            &[&[Act::Sweep(11)], &[Act::Request(1, SYN)], &[Act::Request(1, SYN), Act::Request(1, ACK)]],
        );
    }
}

#[test]
fn a_state_that_changes_while_the_connection_expires() {
    for method in [Server::nat, Server::direct] {
        race(
            method,
            &[Act::Request(1, SYN), Act::Request(1, ACK), Act::Request(1, FIN | ACK)],
            &[&[Act::Sweep(121)], &[Act::Request(1, RST)], &[Act::Reply(2, FIN | ACK), Act::Request(1, ACK)]],
        );
    }
}

#[test]
fn an_ended_connection_opened_anew_by_two_cpus_while_its_server_still_speaks() {
    race(
        Server::nat,
        &[Act::Request(1, SYN), Act::Request(1, ACK), Act::Request(1, RST)],
        &[
            &[Act::Request(1, SYN)],
            &[Act::Request(1, SYN), Act::Request(1, ACK)],
            &[Act::Reply(2, RST), Act::Reply(1, ACK)],
        ],
    );
}

#[test]
fn states_changed_from_both_sides_at_once() {
    race(
        Server::nat,
        &[Act::Request(1, SYN), Act::Reply(2, SYN | ACK), Act::Request(1, ACK)],
        &[&[Act::Request(1, FIN | ACK)], &[Act::Reply(2, FIN | ACK)], &[Act::Reply(2, RST)]],
    );
}

#[test]
fn two_vips_that_lead_one_client_port_to_one_server() {
    race(
        Server::nat,
        &[Act::Request(1, SYN), Act::Request(1, ACK), Act::Request(1, RST)],
        &[
            &[Act::Request(1, SYN), Act::Request(1, ACK)],
            &[Act::Request(2, SYN), Act::Request(2, ACK)],
            &[Act::Reply(1, SYN | ACK), Act::Reply(1, FIN | ACK)],
        ],
    );
}
