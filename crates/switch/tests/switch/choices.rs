//! Single choices: which of some destinations in a given state gets the next connection.

use crate::fixture::*;
use rlvs_packet::protocol::TCP;
use rlvs_packet::tcp::SYN;
use rlvs_switch::scheduler::Scheduler;
use rlvs_switch::simulation::{Packet, SERVER_SIDE, Server, Simulation};
use rlvs_switch::{Verdict, order};
use std::net::{IpAddr, SocketAddr};

/// Weight, active and inactive connections of a destination.
type State = (u32, u32, u32);

/// A service whose destinations are in these states, in IPVS's order: the newest, which is the first of the list, first.
fn service(scheduler: Scheduler, list: &[State]) -> (Simulation, u32) {
    let mut simulation = Simulation::new(1 << 13, 3);
    let service = simulation.add_service(TCP, v4().vip, scheduler);
    for (n, (weight, active, inactive)) in list.iter().enumerate().rev() {
        let address = SocketAddr::new([10, 2, 0, n as u8].into(), 80);
        let index = simulation.add_destination(service, &Server::direct(address).weight(*weight));
        let destination = simulation.destination_mut(index);
        destination.active.store(*active, order::PLAIN);
        destination.inactive.store(*inactive, order::PLAIN);
    }
    (simulation, service)
}

/// The place in the list of whom a client's connection goes to.
fn chosen(simulation: &Simulation, client: SocketAddr) -> Option<usize> {
    let (verdict, frame) = simulation.receive(&Packet::tcp(client, v4().vip, SYN).frame());
    (verdict == Verdict::Redirect(SERVER_SIDE)).then(|| frame[5] as usize)
}

fn choice(scheduler: Scheduler, list: &[State]) -> Option<usize> {
    chosen(&service(scheduler, list).0, v4().client)
}

fn client(address: [u8; 4], port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::from(address), port)
}

#[test]
fn rr_starts_with_the_newest_and_knows_no_weights() {
    let (simulation, _) = service(Scheduler::RoundRobin, &[(1, 0, 0), (5, 0, 0), (1, 0, 0)]);
    let turns: Vec<_> =
        (0..6).map(|n| chosen(&simulation, client([10, 9, 0, 1], 1000 + n)).unwrap()).collect();
    assert_eq!(turns, [0, 1, 2, 0, 1, 2]);
    let (simulation, _) = service(Scheduler::RoundRobin, &[(0, 0, 0), (5, 0, 0)]);
    assert!((0..4).all(|n| chosen(&simulation, client([10, 9, 0, 1], 1000 + n)) == Some(1)));
}

#[test]
fn lc_counts_256_inactive_connections_as_one() {
    assert_eq!(choice(Scheduler::LeastConnection, &[(1, 2, 0), (1, 0, 511)]), Some(1));
    assert_eq!(choice(Scheduler::LeastConnection, &[(1, 2, 0), (1, 0, 512)]), Some(0));
    assert_eq!(choice(Scheduler::LeastConnection, &[(1, 0, 512), (1, 2, 0)]), Some(0));
}

#[test]
fn wlc_divides_by_weight() {
    assert_eq!(choice(Scheduler::WeightedLeastConnection, &[(1, 2, 0), (2, 3, 0)]), Some(1));
    // Of idle ones, the first of the list.
    assert_eq!(choice(Scheduler::WeightedLeastConnection, &[(1, 0, 0), (100, 0, 0)]), Some(0));
}

#[test]
fn sed_counts_the_connection_to_come_and_nq_takes_whoever_is_idle() {
    assert_eq!(choice(Scheduler::ShortestExpectedDelay, &[(1, 0, 0), (3, 0, 0)]), Some(1));
    assert_eq!(choice(Scheduler::NeverQueue, &[(100, 1, 0), (1, 0, 0)]), Some(1));
    assert_eq!(choice(Scheduler::NeverQueue, &[(100, 1, 0), (1, 1, 0)]), Some(0));
}

#[test]
fn fo_takes_the_highest_weight_that_is_not_overloaded() {
    let (mut simulation, _) = service(Scheduler::WeightedFailover, &[(1, 0, 0), (2, 0, 0), (3, 0, 0)]);
    assert_eq!(chosen(&simulation, v4().client), Some(2));
    // The first that was added is the last of the list.
    simulation.destination_mut(0).overload.store(1, order::PLAIN);
    assert_eq!(chosen(&simulation, client([10, 9, 0, 2], 1000)), Some(1));
}

#[test]
fn ovf_fills_up_the_highest_weight_before_the_next() {
    assert_eq!(choice(Scheduler::WeightedOverflow, &[(1, 0, 0), (2, 2, 0)]), Some(1));
    assert_eq!(choice(Scheduler::WeightedOverflow, &[(1, 0, 0), (2, 3, 0)]), Some(0));
}

#[test]
fn dh_asks_nobody_else_for_an_address_whose_server_is_at_rest() {
    let (mut simulation, service) =
        service(Scheduler::DestinationHashing, &[(1, 0, 0), (7, 0, 0), (1, 0, 0), (1, 0, 0)]);
    let first = chosen(&simulation, client([10, 9, 0, 1], 1000)).unwrap();
    assert!((0..20).all(|n| chosen(&simulation, client([10, 9, 0, n], 2000)) == Some(first)));
    let index = simulation.members_of(service)[first];
    simulation.set_weight(service, index, 0);
    assert_eq!(chosen(&simulation, client([10, 9, 0, 1], 3000)), None);
}

#[test]
fn sh_by_its_buckets() {
    // Weights 1, 2, 1, 4: the slots are 0 1 1 2 3 3 3 3 over and over, and 10.0.0.1 comes to slot 39, with port 40000 to 203.
    let list = [(1, 0, 0), (2, 0, 0), (1, 0, 0), (4, 0, 0)];
    let slots = [0, 1, 1, 2, 3, 3, 3, 3];
    let (mut simulation, service) = service(Scheduler::SourceHashing, &list);
    assert_eq!(chosen(&simulation, client([10, 0, 0, 1], 39999)), Some(slots[39 % 8]));
    simulation.set_flags(service, 0x10);
    assert_eq!(chosen(&simulation, client([10, 0, 0, 1], 40000)), Some(slots[203 % 8]));
}

#[test]
fn sh_with_fallback_finds_the_same_other_server_each_time() {
    let (mut simulation, service) = service(Scheduler::SourceHashing, &[(1, 0, 0), (1, 0, 0), (1, 0, 0)]);
    let first = chosen(&simulation, client([10, 0, 0, 1], 1000)).unwrap();
    simulation.set_weight(service, simulation.members_of(service)[first], 0);
    assert_eq!(chosen(&simulation, client([10, 0, 0, 1], 1001)), None);
    simulation.set_flags(service, 0x8);
    let other = chosen(&simulation, client([10, 0, 0, 1], 1002)).unwrap();
    assert_ne!(other, first);
    assert!((1003..1010).all(|port| chosen(&simulation, client([10, 0, 0, 1], port)) == Some(other)));
}

#[test]
fn mh_maps_clients_as_before_when_a_server_is_back() {
    let list: Vec<State> = (1..=5).map(|weight| (weight, 0, 0)).collect();
    let (mut simulation, service) = service(Scheduler::MaglevHashing, &list);
    let all = |simulation: &Simulation, port| -> Vec<_> {
        (0..60).map(|n| chosen(simulation, client([10, 9, 1, n], port))).collect()
    };
    let before = all(&simulation, 1000);
    let rested = simulation.members_of(service)[3];
    simulation.set_weight(service, rested, 0);
    let meanwhile = all(&simulation, 1001);
    assert!(meanwhile.iter().all(|choice| *choice != Some(3)));
    assert_ne!(before, meanwhile);
    simulation.set_weight(service, rested, 4);
    assert_eq!(all(&simulation, 1002), before);
}

#[test]
fn twos_takes_the_less_loaded_unless_the_lot_is_twice_the_other() {
    assert_eq!(choice(Scheduler::PowerOfTwo, &[(0, 0, 0), (3, 9, 9)]), Some(1));
    let (simulation, _) = service(Scheduler::PowerOfTwo, &[(1, 100_000, 0), (1, 0, 0)]);
    let loaded = (0..900).filter(|n| chosen(&simulation, client([10, 9, 0, 1], 1000 + n)) == Some(0)).count();
    // The lots 0 and 1 of 0 to 2 lead to the first of the list: 4 of 9 times both do.
    assert!((300..500).contains(&loaded), "{loaded} of 900");
}
