//! Which entries of the table others are to hear of, and when.
//!
//! IPVS tells of a connection when it had so many packets. Packets are not counted here, for each connection; so a connection is told of as soon
//! as it is established, at each later state, and again when its expiry has been put off by a part of its timeout, or by a minute.

use rlvs_switch::config::{Config, Tick};
use rlvs_switch::table::slot::HIDDEN;
use rlvs_switch::table::{Family, Meta, Slot, Told, Tuple, slot};
use rlvs_switch::{Memory, order, state};

/// A state that no protocol has: the entry was seen, and it is to be told of if more packets come.
pub(super) const SEEN: u8 = u8::MAX;

/// A connection is told of again when its expiry was put off by this part of its timeout, unless `sync_refresh_period` says else.
const REFRESH_PART: u32 = 4;

/// Seconds that it was put off by at least.
const REFRESH_LEAST: u32 = 10;

/// No more need it be: a backup of another kind that was away hears of busy connections within this time, for it does not ask.
const REFRESH_MOST: u32 = 60;

/// Why an entry is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    /// The switch told of it.
    Change,
    /// In turn.
    Walk,
    /// All are to be told of.
    Whole,
}

/// Whether others are to be told of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Now,
    No,
    /// If there are more packets.
    Later,
}

/// Whether they are to hear of this entry now.
pub(super) fn is_due<M: Memory, F: Family>(
    memory: &M,
    config: &Config,
    place: &Slot<F>,
    tuple: &Tuple<F>,
    expires: Tick,
    occasion: Occasion,
) -> Due {
    let (meta, told) = (place.meta(), place.told());
    let is_template = meta.is_template();
    let timeout = match is_template {
        // One that no client is to find any more.
        true if tuple.ports[1] == HIDDEN => return Due::No,
        true => place.timeout(),
        false if !state::is_told(tuple.protocol, meta.state()) => return Due::No,
        false => state::expiry(config, tuple.protocol, meta.state(), Tick(0)).0,
    };
    if !is_template && config.director.sync_persist_mode.load(order::PLAIN) != 0 {
        let controller = place.controller().and_then(|index| slot::<M, F>(memory, index));
        if controller.is_some_and(|controller| controller.meta().is_template()) {
            return Due::No;
        }
    }
    if occasion == Occasion::Whole {
        return Due::Now;
    }
    // Of protocols without states only flows that last are told of: others are over before a failover.
    if told == Told::NEVER {
        return if is_template || meta.state() != state::NONE { Due::Now } else { Due::Later };
    }
    if told.state() == SEEN {
        return if told.moved(expires) > 0 { Due::Now } else { Due::No };
    }
    if told.state() != meta.state() || told.moved(expires) >= refresh(config, timeout) {
        return Due::Now;
    }
    Due::No
}

/// Keeps in the slot what others were told, so that the next look knows.
pub(super) fn note<F: Family>(place: &Slot<F>, meta: Meta, due: Due, expires: Tick) {
    match due {
        Due::Now => place.set_told(meta, Told::new(meta.state(), expires)),
        Due::Later => place.set_told(meta, Told::new(SEEN, expires)),
        Due::No => {}
    }
}

/// Ticks that the expiry of a connection with this timeout must have been put off by for it to be told of again.
fn refresh(config: &Config, timeout: u32) -> i32 {
    let least = Tick::in_seconds(REFRESH_LEAST);
    let ticks = match config.director.sync_refresh_period.load(order::PLAIN) {
        0 => (timeout / REFRESH_PART).clamp(least, Tick::in_seconds(REFRESH_MOST)),
        seconds => Tick::in_seconds(seconds).min((timeout / 2).max(least)),
    };
    ticks.max(1) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlvs_packet::protocol::{TCP, UDP};
    use rlvs_packet::tcp::{ACK, FIN, SYN};
    use rlvs_switch::scheduler::Scheduler;
    use rlvs_switch::simulation::{Packet, Server, Simulation};
    use rlvs_switch::table::V4;

    /// A director with a service for TCP and one for UDP.
    fn world() -> Simulation {
        let mut simulation = Simulation::new(64, 1);
        for protocol in [TCP, UDP] {
            let vip = "10.1.0.200:80".parse().unwrap();
            let service = simulation.add_service(protocol, vip, Scheduler::RoundRobin);
            simulation.add_destination(service, &Server::direct("10.2.0.1:80".parse().unwrap()));
        }
        simulation
    }

    fn send(simulation: &Simulation, protocol: u8, flags: u8) {
        let (client, vip) = ("10.9.0.7:20000".parse().unwrap(), "10.1.0.200:80".parse().unwrap());
        let packet = if protocol == TCP { Packet::tcp(client, vip, flags) } else { Packet::udp(client, vip) };
        simulation.receive(&packet.frame());
    }

    /// Looks at the one connection, and notes what follows as the master does.
    fn look(simulation: &Simulation, occasion: Occasion) -> Due {
        let index =
            simulation.connections().into_iter().find(|entry| !entry.reply && !entry.template).unwrap().slot;
        let place = slot::<_, V4>(simulation, index).unwrap();
        let (meta, expires) = (place.meta(), place.expires());
        let tuple = place.tuple(meta).unwrap();
        let due = is_due(simulation, simulation.config().unwrap(), place, &tuple, expires, occasion);
        note(place, meta, due, expires);
        due
    }

    #[test]
    fn connections_are_told_of_by_state_and_time() {
        let simulation = world();
        send(&simulation, TCP, SYN);
        assert_eq!(look(&simulation, Occasion::Walk), Due::No, "it is not established");
        send(&simulation, TCP, ACK);
        assert_eq!(look(&simulation, Occasion::Change), Due::Now);
        assert_eq!(look(&simulation, Occasion::Walk), Due::No);
        assert_eq!(look(&simulation, Occasion::Whole), Due::Now, "it was asked for");
        // A minute is less than a quarter of 900 seconds.
        for (seconds, expected) in [(50, Due::No), (15, Due::Now), (10, Due::No)] {
            simulation.advance(seconds);
            assert_eq!(look(&simulation, Occasion::Walk), Due::No, "no packets");
            send(&simulation, TCP, ACK);
            assert_eq!(look(&simulation, Occasion::Walk), expected, "after {seconds} seconds more");
        }
        let config = simulation.config().unwrap();
        config.director.sync_refresh_period.store(120, order::PLAIN);
        simulation.advance(115);
        send(&simulation, TCP, ACK);
        assert_eq!(look(&simulation, Occasion::Walk), Due::Now, "125 seconds since it was told of");
        send(&simulation, TCP, FIN | ACK);
        assert_eq!(look(&simulation, Occasion::Walk), Due::Now, "even if the ring had no room for it");
        assert_eq!(
            simulation.state_of("10.9.0.7:20000".parse().unwrap(), "10.1.0.200:80".parse().unwrap()),
            Some("FIN_WAIT")
        );
        assert_eq!(look(&simulation, Occasion::Change), Due::No, "it has been");
    }

    #[test]
    fn udp_flows_are_told_of_once_they_last() {
        let simulation = world();
        send(&simulation, UDP, 0);
        assert_eq!(look(&simulation, Occasion::Walk), Due::Later);
        simulation.advance(2);
        assert_eq!(look(&simulation, Occasion::Walk), Due::No, "one packet only");
        simulation.advance(2);
        send(&simulation, UDP, 0);
        assert_eq!(look(&simulation, Occasion::Walk), Due::Now);
        simulation.advance(2);
        send(&simulation, UDP, 0);
        assert_eq!(look(&simulation, Occasion::Walk), Due::No);
    }

    #[test]
    fn templates_stand_for_their_connections_if_so_set() {
        let mut simulation = Simulation::new(64, 1);
        let vip = "10.1.0.200:80".parse().unwrap();
        let service = simulation.add_service(TCP, vip, Scheduler::RoundRobin);
        simulation.add_destination(service, &Server::direct("10.2.0.1:80".parse().unwrap()));
        simulation.make_persistent(service, 300, u32::MAX);
        simulation.config().unwrap().director.sync_persist_mode.store(1, order::PLAIN);
        send(&simulation, TCP, SYN);
        send(&simulation, TCP, ACK);
        assert_eq!(look(&simulation, Occasion::Change), Due::No);
        let template = simulation.connections().into_iter().find(|entry| entry.template).unwrap();
        let place = slot::<_, V4>(&simulation, template.slot).unwrap();
        let tuple = place.tuple(place.meta()).unwrap();
        let due =
            is_due(&simulation, simulation.config().unwrap(), place, &tuple, place.expires(), Occasion::Walk);
        assert_eq!(due, Due::Now);
    }
}
