//! A connection's life: states, times, counts, its end and its successor.

use crate::fixture::*;
use proptest::prelude::*;
use rlvs_packet::tcp::{ACK, FIN, RST, SYN};
use rlvs_switch::config::Tick;
use rlvs_switch::counters::Event;
use rlvs_switch::destination::method;
use rlvs_switch::order;
use rlvs_switch::scheduler::Scheduler;
use rlvs_switch::simulation::{Packet, SERVER_SIDE, Server, Simulation};
use rlvs_switch::state::{Direction, tcp};
use rlvs_switch::{Memory, Verdict};
use std::net::SocketAddr;

use Sent::{Client, Server as FromServer};

fn play(simulation: &Simulation, net: Net, sent: Sent) -> Verdict {
    sent.play(simulation, net, Packet::tcp)
}

const OPEN: [Sent; 3] = [Client(SYN), FromServer(SYN | ACK), Client(ACK)];

/// What has been sent, the state then, the seconds that it lasts, and whether it counts as active.
fn lives() -> Vec<(Vec<Sent>, &'static str, u32, bool)> {
    let then = |more: &[Sent]| [&OPEN[..], more].concat();
    vec![
        (vec![Client(SYN)], "SYN_RECV", 60, true),
        (OPEN[..2].to_vec(), "SYN_RECV", 60, true),
        (OPEN.to_vec(), "ESTABLISHED", 900, true),
        (then(&[Client(FIN | ACK)]), "CLOSE_WAIT", 60, false),
        (then(&[FromServer(FIN | ACK)]), "FIN_WAIT", 120, false),
        (then(&[Client(FIN | ACK), FromServer(FIN | ACK)]), "TIME_WAIT", 120, false),
        (then(&[FromServer(FIN | ACK), Client(FIN | ACK), FromServer(ACK)]), "TIME_WAIT", 120, false),
        (then(&[Client(RST)]), "CLOSE", 10, false),
        (then(&[FromServer(RST | ACK)]), "CLOSE", 10, false),
        (vec![Client(SYN), FromServer(RST | ACK)], "CLOSE", 10, false),
    ]
}

#[test]
fn each_state_is_reached_counted_and_lasts_its_time() {
    for net in [v4(), v6()] {
        for (packets, state, seconds, active) in lives() {
            let simulation = director(net, &Server::nat(net.server));
            for packet in &packets {
                assert!(matches!(play(&simulation, net, *packet), Verdict::Redirect(_)), "{packets:?}");
            }
            assert_eq!(simulation.state_of(net.client, net.vip), Some(state), "{packets:?}");
            assert_eq!(simulation.connections_of(0), if active { (1, 0) } else { (0, 1) }, "{packets:?}");
            simulation.advance_ticks(Tick::in_seconds(seconds) - 1);
            assert_eq!(simulation.sweep(), 0, "{state} for {seconds} seconds");
            simulation.advance_ticks(1);
            assert_eq!(
                play(&simulation, net, Client(ACK)),
                Verdict::Pass,
                "{state}: an expired connection does not exist"
            );
            assert_eq!(simulation.sweep(), 1, "{state} ends after {seconds} seconds");
            assert_eq!((simulation.connections(), simulation.connections_of(0)), (vec![], (0, 0)));
            simulation.audit().unwrap();
        }
    }
}

#[test]
fn without_sight_of_the_replies_the_client_alone_decides() {
    for server in [Server::direct(v4().server), Server::tunnel(v4().server)] {
        let simulation = director(v4(), &server);
        for (flags, state) in [
            (SYN, "SYN_RECV"),
            (ACK, "ESTABLISHED"),
            (FIN | ACK, "FIN_WAIT"),
            (ACK, "FIN_WAIT"),
            (RST, "CLOSE"),
        ] {
            play(&simulation, v4(), Client(flags));
            assert_eq!(simulation.state_of(v4().client, v4().vip), Some(state));
        }
    }
}

#[test]
fn packets_of_either_side_keep_a_connection() {
    for side in [Client(ACK), FromServer(ACK)] {
        let simulation = director(v4(), &Server::nat(v4().server));
        OPEN.iter().for_each(|sent| {
            play(&simulation, v4(), *sent);
        });
        for _ in 0..5 {
            simulation.advance(600);
            assert!(matches!(play(&simulation, v4(), side), Verdict::Redirect(_)), "{side:?}");
            simulation.audit().unwrap();
        }
        simulation.advance(600);
        assert_eq!(simulation.sweep(), 0);
        assert!(matches!(play(&simulation, v4(), Client(ACK)), Verdict::Redirect(_)), "{side:?}");
        assert!(matches!(play(&simulation, v4(), FromServer(ACK)), Verdict::Redirect(_)), "{side:?}");
    }
}

#[test]
fn udp_lasts_five_minutes_from_the_last_packet_of_either_side_and_is_never_active() {
    for net in [v4(), v6()] {
        let simulation = director(net, &Server::nat(net.server));
        let request = Packet::udp(net.client, net.vip);
        to_server(&simulation, &request);
        assert_eq!(simulation.connections_of(1), (0, 1));
        simulation.advance(200);
        let reply = Packet::udp(net.server, net.client);
        assert!(matches!(simulation.receive_from(SERVER_SIDE, &reply.frame()).0, Verdict::Redirect(_)));
        simulation.advance(200);
        assert_eq!(simulation.state_of(net.client, net.vip), None, "its own half has expired,");
        assert_eq!(simulation.sweep(), 0, "but the reply keeps it");
        simulation.advance(100);
        assert_eq!(simulation.sweep(), 1);
        simulation.audit().unwrap();
    }
}

#[test]
fn a_syn_opens_an_ended_connection_anew_and_is_scheduled_anew() {
    for end in [&[Client(FIN | ACK), FromServer(FIN | ACK)][..], &[Client(RST)]] {
        let mut simulation = director(v4(), &Server::nat(v4().server));
        OPEN.iter().chain(end).for_each(|sent| {
            play(&simulation, v4(), *sent);
        });
        let other = simulation.add_destination(0, &Server::nat(at("10.2.0.2:8080")));
        play(&simulation, v4(), Client(SYN));
        assert_eq!(simulation.state_of(v4().client, v4().vip), Some("SYN_RECV"));
        assert_eq!((simulation.connections_of(0), simulation.connections_of(other)), ((0, 0), (1, 0)));
        simulation.audit().unwrap();
    }
}

#[test]
fn a_syn_on_a_living_connection_stays_with_its_server() {
    let mut simulation = director(v4(), &Server::nat(v4().server));
    OPEN.iter().for_each(|sent| {
        play(&simulation, v4(), *sent);
    });
    let other = simulation.add_destination(0, &Server::nat(at("10.2.0.2:8080")));
    play(&simulation, v4(), Client(SYN));
    assert_eq!((simulation.connections_of(0), simulation.connections_of(other)), ((1, 0), (0, 0)));
}

#[test]
fn what_goes_to_a_deleted_destination_is_dropped_and_counted() {
    let mut simulation = director(v4(), &Server::nat(v4().server));
    OPEN.iter().for_each(|sent| {
        play(&simulation, v4(), *sent);
    });
    simulation.remove_destination(0, 0);
    assert_eq!(play(&simulation, v4(), Client(ACK)), Verdict::Drop);
    assert_eq!(simulation.events(Event::DestinationGone), 1);
    assert!(matches!(play(&simulation, v4(), FromServer(ACK)), Verdict::Redirect(_)), "replies still leave");
    simulation.restore_destination(0, 0);
    assert!(matches!(play(&simulation, v4(), Client(ACK)), Verdict::Redirect(_)), "and it comes back whole");
    simulation.audit().unwrap();
}

#[test]
fn a_client_that_begins_anew_after_its_server_was_deleted_gets_another_one() {
    let mut simulation = director(v4(), &Server::nat(v4().server));
    OPEN.iter().for_each(|sent| {
        play(&simulation, v4(), *sent);
    });
    simulation.remove_destination(0, 0);
    let other = simulation.add_destination(0, &Server::nat(at("10.2.0.2:8080")));
    assert!(matches!(play(&simulation, v4(), Client(SYN)), Verdict::Redirect(_)));
    assert_eq!((simulation.connections_of(0), simulation.connections_of(other)), ((0, 0), (1, 0)));
    simulation.audit().unwrap();
}

#[test]
fn a_quiesced_destination_keeps_its_connections_and_gets_no_more() {
    let mut simulation = director(v4(), &Server::nat(v4().server));
    play(&simulation, v4(), Client(SYN));
    simulation.set_weight(0, 0, 0);
    assert!(matches!(play(&simulation, v4(), Client(ACK)), Verdict::Redirect(SERVER_SIDE)));
    let newcomer = Packet::tcp(at("10.9.0.8:1"), v4().vip, SYN);
    assert_eq!(simulation.receive(&newcomer.frame()).0, Verdict::Transmit);
    assert_eq!(simulation.events(Event::NoDestination), 1);
}

#[test]
fn packets_of_a_removed_service_are_dropped_if_known_and_passed_if_not() {
    let mut simulation = director(v4(), &Server::nat(v4().server));
    play(&simulation, v4(), Client(SYN));
    simulation.remove_service(6, v4().vip);
    assert_eq!(play(&simulation, v4(), Client(ACK)), Verdict::Drop);
    passes_untouched(&simulation, &Packet::tcp(at("10.9.0.8:1"), v4().vip, SYN).frame());
}

#[test]
fn a_destination_above_its_upper_threshold_waits_until_below_the_lower_one() {
    let mut simulation = Simulation::new(1 << 10, 1);
    let service = simulation.add_service(6, v4().vip, Scheduler::WeightedLeastConnection);
    let index = simulation.add_destination(service, &Server::nat(v4().server));
    simulation.destination_mut(index).upper.store(4, order::PLAIN);
    simulation.destination_mut(index).lower.store(2, order::PLAIN);
    let client = |n: u16| SocketAddr::new(v4().client.ip(), 1000 + n);
    let open = |n| simulation.receive(&Packet::tcp(client(n), v4().vip, SYN).frame()).0;
    assert_eq!((0..5).map(open).filter(|v| *v == Verdict::Redirect(SERVER_SIDE)).count(), 4);
    for n in 0..2 {
        simulation.receive(&Packet::tcp(client(n), v4().vip, FIN | ACK).frame());
        simulation.receive(&Packet::tcp(client(n), v4().vip, RST).frame());
    }
    let keep = |n| simulation.receive(&Packet::tcp(client(n), v4().vip, ACK).frame()).0;
    assert_eq!((keep(2), keep(3)), (Verdict::Redirect(SERVER_SIDE), Verdict::Redirect(SERVER_SIDE)));
    simulation.advance(130);
    simulation.sweep();
    assert_eq!((simulation.connections_of(index), open(9)), ((2, 0), Verdict::Transmit), "2 is not below 2");
    simulation.receive(&Packet::tcp(client(2), v4().vip, RST).frame());
    simulation.advance(11);
    simulation.sweep();
    assert_eq!(open(9), Verdict::Redirect(SERVER_SIDE));
}

#[test]
fn a_syn_with_an_acknowledgement_opens_a_connection_too() {
    for net in [v4(), v6()] {
        let simulation = director(net, &Server::nat(net.server));
        to_server(&simulation, &Packet::tcp(net.client, net.vip, SYN | ACK));
        assert_eq!(simulation.connections_of(0), (1, 0));
    }
}

#[test]
fn another_forwarding_method_is_for_new_connections() {
    for net in [v4(), v6()] {
        let mut simulation = director(net, &Server::nat(net.server));
        OPEN.iter().for_each(|sent| {
            play(&simulation, net, *sent);
        });
        simulation.destination_mut(0).method.store(method::DIRECT_ROUTE, order::PLAIN);
        let old = to_server(&simulation, &Packet::tcp(net.client, net.vip, ACK));
        assert_eq!(old.inner().destination, net.server.ip(), "as it began");
        assert!(matches!(play(&simulation, net, FromServer(ACK)), Verdict::Redirect(_)));
        let newcomer = SocketAddr::new(net.client.ip(), 1);
        let new = to_server(&simulation, &Packet::tcp(newcomer, net.vip, SYN));
        assert_eq!(new.inner().destination, net.vip.ip());
        simulation.audit().unwrap();
    }
}

#[test]
fn another_timeout_is_for_the_next_packet() {
    for side in [Client(ACK), FromServer(ACK)] {
        let simulation = director(v4(), &Server::nat(v4().server));
        OPEN.iter().for_each(|sent| {
            play(&simulation, v4(), *sent);
        });
        let timeout = &simulation.config().unwrap().tcp_timeouts[usize::from(tcp::ESTABLISHED)];
        timeout.store(Tick::in_seconds(100), order::PLAIN);
        simulation.advance(800);
        assert_eq!(simulation.sweep(), 0, "until then it keeps the old one");
        assert!(matches!(play(&simulation, v4(), side), Verdict::Redirect(_)), "{side:?}");
        simulation.advance_ticks(Tick::in_seconds(100) - 1);
        assert_eq!(simulation.sweep(), 0, "{side:?}");
        simulation.advance_ticks(1);
        assert_eq!(simulation.sweep(), 1, "{side:?}");
        simulation.audit().unwrap();
    }
}

#[test]
fn a_standby_switches_replies_and_no_requests() {
    for net in [v4(), v6()] {
        let simulation = director(net, &Server::nat(net.server));
        OPEN.iter().for_each(|sent| {
            play(&simulation, net, *sent);
        });
        let config = simulation.config().unwrap();
        let [_, backup] = &config.daemons;
        let newcomer = SocketAddr::new(net.client.ip(), 1);
        for (backup_only, daemon) in [(1, 0), (0, 1), (1, 1)] {
            config.settings.backup_only.store(backup_only, order::PLAIN);
            backup.started.store(daemon, order::PLAIN);
            let standby = backup_only + daemon == 2;
            for packet in [Packet::tcp(net.client, net.vip, ACK), Packet::tcp(newcomer, net.vip, SYN)] {
                let frame = packet.frame();
                assert_eq!(simulation.receive(&frame).1 == frame, standby, "{packet:?}");
            }
            assert!(matches!(play(&simulation, net, FromServer(ACK)), Verdict::Redirect(_)));
        }
    }
}

/// Something that happens to a small world of five clients and two destinations.
#[derive(Clone, Debug)]
enum Happening {
    Packet(u16, u8),
    Reply(u16, u8),
    Pass(u32),
    Sweep,
    Remove(u32),
    Restore(u32),
}

fn happening() -> impl Strategy<Value = Happening> {
    let flags =
        prop_oneof![3 => Just(SYN), 4 => Just(ACK), 2 => Just(FIN | ACK), 1 => Just(RST), 1 => any::<u8>()];
    prop_oneof![
        10 => (0u16..5, flags.clone()).prop_map(|(client, flags)| Happening::Packet(client, flags)),
        6 => (0u16..5, flags).prop_map(|(client, flags)| Happening::Reply(client, flags)),
        2 => (0u32..130).prop_map(Happening::Pass),
        1 => Just(Happening::Sweep),
        1 => (0u32..2).prop_map(Happening::Remove),
        1 => (0u32..2).prop_map(Happening::Restore),
    ]
}

/// A connection as the model sees it: state, destination, end.
#[derive(Clone, Copy, Debug)]
struct Known {
    state: u8,
    server: u32,
    end: u64,
}

proptest! {
    #[test]
    fn states_and_counts_are_those_of_a_simple_model(
        masquerade: bool,
        happenings in proptest::collection::vec(happening(), 1..120),
    ) {
        let mut simulation = Simulation::new(1 << 7, 5);
        let service = simulation.add_service(6, v4().vip, Scheduler::LeastConnection);
        let servers = [at("10.2.0.1:8080"), at("10.2.0.2:8080")];
        for server in servers {
            let server = if masquerade { Server::nat(server) } else { Server::direct(server) };
            simulation.add_destination(service, &server);
        }
        let client = |n: u16| SocketAddr::new(v4().client.ip(), 1000 + n);
        let mut model: [Option<Known>; 5] = [None; 5];
        let mut present = [true; 2];
        let mut now = 0u64;
        for happening in happenings {
            match happening {
                Happening::Pass(seconds) => {
                    now += Tick::in_seconds(seconds) as u64;
                    simulation.advance(seconds);
                }
                Happening::Sweep => { simulation.sweep(); }
                Happening::Remove(server) => {
                    simulation.remove_destination(service, server);
                    present[server as usize] = false;
                }
                Happening::Restore(server) => if !present[server as usize] {
                    simulation.restore_destination(service, server);
                    present[server as usize] = true;
                },
                Happening::Packet(n, flags) => {
                    simulation.receive(&Packet::tcp(client(n), v4().vip, flags).frame());
                    let direction = if masquerade { Direction::Input } else { Direction::InputOnly };
                    let known = &mut model[n as usize];
                    if known.is_some_and(|k| {
                        k.end <= now
                            || flags & SYN != 0 && [tcp::TIME_WAIT, tcp::CLOSE].contains(&k.state)
                            || flags & (SYN | ACK | RST) == SYN && !present[k.server as usize]
                    }) {
                        *known = None;
                    }
                    if known.is_none() && flags & (SYN | RST) == SYN && present.contains(&true) {
                        // Which one the scheduler takes is not this model's business.
                        let server = simulation
                            .connections()
                            .into_iter()
                            .find(|c| !c.reply && c.source == client(n))
                            .map(|c| c.server);
                        prop_assert!(server.is_some_and(|s| present[s as usize]), "{:?}", server);
                        *known = Some(Known { state: tcp::NONE, server: server.unwrap(), end: 0 });
                    }
                    if let Some(known) = known && present[known.server as usize] {
                        known.state = tcp::next(known.state, direction, flags, false);
                        known.end = now + Tick::in_seconds(tcp::TIMEOUTS[known.state as usize]) as u64;
                    }
                }
                Happening::Reply(n, flags) => {
                    let Some(known) = &mut model[n as usize] else { continue };
                    let reply = Packet::tcp(servers[known.server as usize], client(n), flags);
                    simulation.receive_from(SERVER_SIDE, &reply.frame());
                    if masquerade && known.end > now {
                        known.state = tcp::next(known.state, Direction::Output, flags, false);
                        known.end = now + Tick::in_seconds(tcp::TIMEOUTS[known.state as usize]) as u64;
                    }
                }
            }
            simulation.audit().map_err(TestCaseError::fail)?;
            simulation.sweep();
            let mut counts = [(0, 0); 2];
            for known in model.iter().flatten().filter(|k| k.end > now) {
                let count = &mut counts[known.server as usize];
                if tcp::is_active(known.state) { count.0 += 1 } else { count.1 += 1 }
            }
            for (server, count) in counts.into_iter().enumerate() {
                prop_assert_eq!(simulation.connections_of(server as u32), count, "destination {}", server);
            }
        }
    }
}
