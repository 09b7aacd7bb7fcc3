//! Choices by rank against a look at all members, while connections come, go on, end and are forgotten, and weights change.

use crate::fixture::*;
use rlvs_packet::protocol::TCP;
use rlvs_packet::tcp::{ACK, FIN, RST, SYN};
use rlvs_switch::scheduler::Scheduler;
use rlvs_switch::simulation::{Packet, Server, Simulation, split_mix};
use rlvs_switch::{Memory, order};
use std::net::SocketAddr;

/// What IPVS compares: load / share, the least first; `None` for whom it passes over.
fn measure(simulation: &Simulation, scheduler: Scheduler, index: u32) -> Option<(u128, u128)> {
    let destination = simulation.destination(index).unwrap();
    let weight = u128::from(destination.eligible_weight());
    let active = u128::from(destination.active.load(order::PLAIN));
    let overhead = u128::from(destination.overhead());
    let measure = match scheduler {
        Scheduler::LeastConnection => (overhead, 1),
        Scheduler::WeightedLeastConnection => (overhead, weight),
        Scheduler::ShortestExpectedDelay => (active + 1, weight),
        Scheduler::NeverQueue if active == 0 => (0, 1),
        Scheduler::NeverQueue => (active + 1, weight),
        Scheduler::WeightedFailover => (1, weight),
        Scheduler::WeightedOverflow if active <= weight => (1, weight),
        _ => return None,
    };
    (weight > 0).then_some(measure)
}

fn expected(simulation: &Simulation, scheduler: Scheduler, members: &[u32]) -> Option<u32> {
    let mut best: Option<(u32, (u128, u128))> = None;
    for index in members {
        let Some((load, share)) = measure(simulation, scheduler, *index) else { continue };
        if best.is_none_or(|(_, (least, of))| load * of < least * share) {
            best = Some((*index, (load, share)));
        }
    }
    best.map(|(index, _)| index)
}

/// Who has got a connection more by what is done.
fn chosen(simulation: &Simulation, members: &[u32], act: impl FnOnce()) -> Option<u32> {
    let count = || {
        let sum = |index: &u32| simulation.connections_of(*index).0 + simulation.connections_of(*index).1;
        members.iter().map(sum).collect::<Vec<u32>>()
    };
    let before = count();
    act();
    let changed = before.iter().zip(count()).position(|(before, after)| after > *before);
    changed.map(|place| members[place])
}

fn client(number: u64) -> SocketAddr {
    SocketAddr::new([10, 9, (number >> 8) as u8, number as u8].into(), 20000)
}

fn play(scheduler: Scheduler, servers: u32, steps: u32) {
    let mut simulation = Simulation::new(1 << 14, 5);
    let service = simulation.add_service(TCP, v4().vip, scheduler);
    let mut seed = u64::from(servers);
    let weights = [1, 1, 2, 3, 7, 100, 65535];
    simulation.add_destinations(
        service,
        (0..servers).map(|n| {
            let address = SocketAddr::new([10, 3, (n >> 8) as u8, n as u8].into(), 80);
            Server::direct(address).weight(weights[split_mix(&mut seed) as usize % weights.len()])
        }),
    );
    let mut clients = 0;
    for step in 0..steps {
        let members = simulation.members_of(service);
        let random = split_mix(&mut seed);
        let (one, other) = (random >> 32, members[(random >> 16) as usize % members.len()]);
        let send = |number: u64, flags| {
            simulation.receive(&Packet::tcp(client(number), v4().vip, flags).frame());
        };
        match random % 16 {
            0..=5 => {
                let expected = expected(&simulation, scheduler, &members);
                let chosen = chosen(&simulation, &members, || send(clients, SYN));
                assert_eq!(chosen, expected, "{} of {servers}, step {step}", scheduler.name());
                clients += 1;
            }
            6..=9 => {
                (0..clients).filter(|number| (number ^ one) % 4 == 0).for_each(|number| send(number, ACK))
            }
            10 => (0..clients)
                .filter(|number| (number ^ one) % 8 == 0)
                .for_each(|number| send(number, FIN | ACK)),
            11 => (0..clients).filter(|number| (number ^ one) % 8 == 0).for_each(|number| send(number, RST)),
            12 => {
                simulation.advance(15);
                // Those that have ended are taken out, and come anew.
                (0..clients).filter(|number| (number ^ one) % 2 == 0).for_each(|number| send(number, SYN));
            }
            13 => simulation.set_weight(service, other, one as u32 % 5),
            14 => {
                let destination = simulation.destination_mut(other);
                let upper = one as u32 % 4;
                destination.upper.store(upper, order::PLAIN);
                destination.overload.store(u32::from(upper == 1), order::PLAIN);
            }
            _ if members.len() > 1 => {
                simulation.remove_destination(service, other);
                simulation.restore_destination(service, other);
            }
            _ => {}
        }
    }
}

#[test]
fn the_best_is_found_without_a_look_at_all() {
    for scheduler in [
        Scheduler::LeastConnection,
        Scheduler::WeightedLeastConnection,
        Scheduler::ShortestExpectedDelay,
        Scheduler::NeverQueue,
        Scheduler::WeightedFailover,
        Scheduler::WeightedOverflow,
    ] {
        for (servers, steps) in [(1, 200), (5, 400), (16, 400), (17, 400), (256, 300), (257, 300), (1500, 60)]
        {
            play(scheduler, servers, steps);
        }
    }
}

#[test]
fn with_nobody_who_takes_connections_there_is_no_choice() {
    let mut simulation = Simulation::new(1 << 10, 5);
    let service = simulation.add_service(TCP, v4().vip, Scheduler::WeightedLeastConnection);
    simulation.receive(&Packet::tcp(client(0), v4().vip, SYN).frame());
    simulation
        .add_destinations(service, (0..20).map(|n| Server::direct(([10, 3, 0, n], 80).into()).weight(0)));
    let members = simulation.members_of(service);
    let open = |simulation: &Simulation, number| {
        chosen(simulation, &members, || {
            simulation.receive(&Packet::tcp(client(number), v4().vip, SYN).frame());
        })
    };
    assert_eq!(open(&simulation, 1), None);
    simulation.set_weight(service, members[18], 1);
    assert_eq!(open(&simulation, 2), Some(members[18]));
}
