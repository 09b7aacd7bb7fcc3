//! Connections that end with their destination.

use crate::lab::*;
use anyhow::{Context, Result, ensure};
use rlvs_ipvs::{Destination, DestinationId, Ending, Errno, ForwardingMethod, Request};
use rlvs_packet::protocol::{TCP, UDP};
use rlvs_packet::tcp::{ACK, FIN, RST, SYN};
use rlvs_switch::counters::Event;
use rlvs_switch::destination::flag::{ENDS, MOVES};
use rlvs_switch::destination::method::{DIRECT_ROUTE, MASQUERADE, TUNNEL};
use rlvs_switch::simulation::Packet;
use rlvs_switch::{Verdict, order};
use std::net::SocketAddr;

fn id_of(server: SocketAddr) -> DestinationId {
    DestinationId { address: server.ip(), port: server.port() }
}

impl Twins {
    /// The same for both: the first server of the service with this index goes, with its connections.
    fn end(
        &mut self,
        (index, protocol, vip): (u32, u8, SocketAddr),
        server: SocketAddr,
        how: Ending,
    ) -> Result<()> {
        let member = *self.simulation.members_of(index).last().context("no destination")?;
        self.simulation.remove_destination(index, member);
        let flags = if how == Ending::Move { ENDS | MOVES } else { ENDS };
        self.simulation.destination_mut(member).flags.store(flags, order::PLAIN);
        self.kernel.ask(Request::EndDestination(service_id(protocol, vip), id_of(server), how))?;
        Ok(())
    }
}

#[test]
fn clients_of_a_destination_that_ends_are_told() {
    run(1 << 10, |twins| {
        let mut index = 0;
        for net in nets() {
            for method in [MASQUERADE, DIRECT_ROUTE, TUNNEL] {
                for (protocol, how) in [(TCP, Ending::Reset), (UDP, Ending::Reset), (UDP, Ending::Move)] {
                    let vip = SocketAddr::new(net.vip.ip(), net.vip.port() + index as u16);
                    goes(twins, net, (index, protocol, vip), method, how)?;
                    index += 1;
                }
            }
        }
        ensure!(twins.kernel.events(Event::Reset)? > 0 && twins.kernel.events(Event::NoDestination)? == 0);
        Ok(())
    });
}

/// One of two destinations of a service goes, and their clients go on.
fn goes(twins: &mut Twins, net: Net, service: (u32, u8, SocketAddr), method: u32, how: Ending) -> Result<()> {
    let (_, protocol, vip) = service;
    twins.add_service(protocol, vip, &[server(method, net.server), server(method, net.server_2())])?;
    let client = |flags| match protocol {
        TCP => Packet::tcp(net.client, vip, flags),
        _ => Packet::udp(net.client, vip),
    };
    let sources = [net.client, SocketAddr::new(net.client.ip(), 20_001)];
    for source in sources {
        twins.to_server(&Packet { source, ..client(SYN) });
    }
    for entry in twins.kernel.destinations(protocol, vip)? {
        ensure!(entry.active + entry.inactive == 1, "one connection to each: {entry:?}");
    }
    twins.end(service, net.server, how)?;
    for flags in [ACK, FIN | ACK, RST, ACK, SYN] {
        for source in sources {
            for payload in [vec![], vec![1; 700]] {
                twins.receive(&Packet { source, payload, ..client(flags) }.frame());
            }
        }
    }
    twins.compare()
}

#[test]
fn what_comes_back_is_another_destination() {
    run(1 << 10, |twins| {
        for net in nets() {
            let first = server(MASQUERADE, net.server);
            twins.add_service(TCP, net.vip, &[first])?;
            let id = service_id(TCP, net.vip);
            let end = || Request::EndDestination(id, id_of(net.server), Ending::Reset);
            for flags in [SYN, ACK] {
                twins.to_server(&Packet::tcp(net.client, net.vip, flags));
            }
            twins.kernel.ask(end())?;
            ensure!(twins.kernel.request(end()).err() == Some(Errno::NOENT), "it is gone");
            let method = ForwardingMethod::Masquerade;
            let again = Destination { method, ..Destination::new(id_of(net.server)) };
            twins.kernel.ask(Request::NewDestination(id, Ok(again)))?;
            let [entry] = &twins.kernel.destinations(TCP, net.vip)?[..] else {
                anyhow::bail!("one destination")
            };
            ensure!((entry.active, entry.inactive) == (0, 0), "{entry:?}");
            let packet = Packet::tcp(net.client, net.vip, ACK).frame();
            ensure!(twins.kernel.receive(&packet)?.0 == action_of(Verdict::Transmit), "a reset");
            // The next director knows it, too.
            twins.kernel.registry = twins.kernel.next_registry()?;
            ensure!(twins.kernel.receive(&packet)?.0 == action_of(Verdict::Transmit), "a reset");
        }
        Ok(())
    });
}
