//! A full table: what makes room for new connections, and what never does.

use rlvs_packet::protocol::{TCP, UDP};
use rlvs_packet::tcp::{ACK, FIN, RST, SYN};
use rlvs_switch::counters::Event;
use rlvs_switch::scheduler::Scheduler;
use rlvs_switch::simulation::{Packet, SERVER_SIDE, Server, Simulation};
use rlvs_switch::table::{V4, slot};
use rlvs_switch::{Memory, Verdict};
use std::net::SocketAddr;

/// Two buckets, so that every slot is a candidate for every connection.
const SLOTS: usize = 16;

struct Full {
    simulation: Simulation,
    vip: SocketAddr,
}

impl Full {
    fn new(server: fn(SocketAddr) -> Server) -> Full {
        let mut simulation = Simulation::new(SLOTS, 1);
        let vip = "10.1.0.200:80".parse().unwrap();
        for protocol in [TCP, UDP] {
            let service = simulation.add_service(protocol, vip, Scheduler::RoundRobin);
            simulation.add_destination(service, &server("10.2.0.1:80".parse().unwrap()));
        }
        Full { simulation, vip }
    }

    fn client(n: u16) -> SocketAddr {
        SocketAddr::new([10, 9, 0, 1].into(), 1000 + n)
    }

    /// The client's packets with these flags; whether all went to the server.
    fn tcp(&self, n: u16, flags: &[u8]) -> bool {
        flags.iter().all(|flags| {
            let packet = Packet::tcp(Full::client(n), self.vip, *flags);
            self.simulation.receive(&packet.frame()).0 == Verdict::Redirect(SERVER_SIDE)
        })
    }

    fn udp(&self, n: u16) -> bool {
        let packet = Packet::udp(Full::client(n), self.vip);
        self.simulation.receive(&packet.frame()).0 == Verdict::Redirect(SERVER_SIDE)
    }

    fn states(&self) -> Vec<(u16, &'static str)> {
        let mut all: Vec<_> = self
            .simulation
            .connections()
            .into_iter()
            .filter(|c| !c.reply)
            .map(|c| (c.source.port() - 1000, c.state))
            .collect();
        all.sort();
        all
    }
}

#[test]
fn established_connections_stay_and_the_new_one_is_refused() {
    let full = Full::new(Server::direct);
    assert!((0..16).all(|n| full.tcp(n, &[SYN, ACK])));
    let before = full.states();
    assert!(!full.tcp(16, &[SYN]) && !full.udp(17));
    assert_eq!(full.simulation.events(Event::TableFull), 2);
    assert_eq!(full.states(), before);
    full.simulation.audit().unwrap();
}

#[test]
fn embryonic_connections_go_first_then_closing_and_udp_ones_and_each_is_counted() {
    let full = Full::new(Server::direct);
    assert!((0..6).all(|n| full.tcp(n, &[SYN, ACK])));
    assert!((6..9).all(|n| full.tcp(n, &[SYN, ACK, FIN | ACK])));
    assert!((9..12).all(|n| full.udp(n)));
    assert!((12..16).all(|n| full.tcp(n, &[SYN])));
    // Each newcomer is established at once, so that it is no candidate for the next.
    assert!((20..24).all(|n| full.tcp(n, &[SYN, ACK])));
    assert!(full.states().iter().all(|(n, _)| !(12..16).contains(n)), "{:?}", full.states());
    assert_eq!(full.simulation.events(Event::EvictedEmbryonic), 4);
    assert_eq!(full.simulation.events(Event::EvictedIdle), 0);
    assert!((24..30).all(|n| full.tcp(n, &[SYN, ACK])));
    assert!(full.states().iter().all(|(n, _)| !(6..16).contains(n)), "{:?}", full.states());
    assert_eq!(full.simulation.events(Event::EvictedIdle), 6);
    assert!(!full.tcp(30, &[SYN]));
    assert!((0..6).chain(20..30).all(|n| full.tcp(n, &[ACK])), "whoever was established still is");
    full.simulation.audit().unwrap();
}

#[test]
fn expired_connections_go_before_all_others_and_are_not_counted_as_evicted() {
    let full = Full::new(Server::direct);
    assert!((0..8).all(|n| full.tcp(n, &[SYN, ACK, RST])));
    full.simulation.advance(11);
    assert!((8..16).all(|n| full.tcp(n, &[SYN])));
    assert!((20..28).all(|n| full.tcp(n, &[SYN, ACK])));
    assert_eq!(full.simulation.events(Event::EvictedEmbryonic), 0);
    assert_eq!(full.states().len(), 16);
    full.simulation.audit().unwrap();
}

#[test]
fn with_nat_both_entries_of_the_evicted_connection_go() {
    let full = Full::new(Server::nat);
    assert!((0..8).all(|n| full.tcp(n, &[SYN])));
    assert_eq!(full.simulation.connections().len(), 16);
    for n in 8..100 {
        full.tcp(n, &[SYN, ACK]);
        full.simulation.audit().unwrap();
    }
    let (active, inactive) = full.simulation.connections_of(0);
    assert_eq!((active as usize, inactive), (full.states().len(), 0));
    assert!(full.simulation.events(Event::EvictedEmbryonic) > 0);
}

#[test]
fn who_read_a_slot_before_it_changed_hands_knows_that() {
    let full = Full::new(Server::direct);
    assert!(full.tcp(0, &[SYN, ACK, RST]));
    let index = full.simulation.connections()[0].slot;
    let place = slot::<_, V4>(&full.simulation, index).unwrap();
    let before = place.meta();
    assert!(place.entry(before).is_some() && place.tuple(before).is_some());
    full.simulation.advance(11);
    assert_eq!(full.simulation.sweep(), 1);
    assert!(place.entry(before).is_none() && place.tuple(before).is_none(), "freed");
    while full.simulation.connections().iter().all(|c| c.slot != index) {
        let next = full.simulation.connections().len() as u16 + 1;
        assert!(full.tcp(next, &[SYN]));
    }
    assert!(place.entry(before).is_none() && place.tuple(before).is_none(), "taken by another connection");
    assert!(!full.simulation.exchange(&place.meta, before.0, before.freed().0));
}
