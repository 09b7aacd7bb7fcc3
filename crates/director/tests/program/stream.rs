//! Thousands of packets of all kinds, in an order that nobody thought of.

use crate::lab::*;
use anyhow::{Context, ensure};
use rlvs_packet::protocol::{SCTP, TCP, UDP};
use rlvs_packet::tcp::{ACK, FIN, RST, SYN};
use rlvs_switch::counters::Event;
use rlvs_switch::destination::method::{DIRECT_ROUTE, MASQUERADE, TUNNEL};
use rlvs_switch::destination::tunnel::{CHECKSUM, GRE, GUE};
use rlvs_switch::simulation::{Packet, split_mix};
use rlvs_switch::{Memory, Verdict, order};
use std::net::SocketAddr;

const PACKETS: u64 = 30_000;
/// So many that nothing is ever evicted: which entry that hits depends on the time.
const SLOTS: u32 = 1 << 14;
/// Ticks in which nothing expires: the simulation's clock stands still, the kernel's does not.
const FOREVER: u32 = 1 << 20;
const CLIENTS: u64 = 40;

#[test]
fn both_homes_do_the_same_to_a_stream_of_any_packets() {
    run(SLOTS, |twins| {
        for config in [twins.kernel.tables.settings(), twins.simulation.config().context("settings")?] {
            let timeouts =
                config.tcp_timeouts.iter().chain(&config.sctp_timeouts).chain([&config.udp_timeout]);
            for timeout in timeouts {
                timeout.store(FOREVER, order::PLAIN);
            }
        }
        let mut services = Vec::new();
        for (net, subnet) in nets().into_iter().zip(["10.2.0.", "fd02::"]) {
            for (protocol, port) in [(TCP, 80), (TCP, 443), (UDP, 53), (SCTP, 5060)] {
                let address = |host: u8| socket(&format!("{subnet}{host}"), port + 1000);
                let servers = [(1, MASQUERADE), (2, DIRECT_ROUTE), (3, TUNNEL), (4, MASQUERADE)]
                    .map(|(host, method)| server(method, address(host)));
                let tunnels = [(5, GUE, CHECKSUM), (6, GRE, CHECKSUM)]
                    .map(|(host, kind, flags)| server_behind(kind, flags, address(host)));
                let servers = [&servers[..], &tunnels[..]].concat();
                let mut vip = net.vip;
                vip.set_port(port);
                twins.add_service(protocol, vip, &servers)?;
                services.push((protocol, vip, net.client, servers));
            }
        }
        let mut random = Random(20);
        let mut verdicts = [0; 4];
        for _ in 0..PACKETS {
            let (protocol, vip, mut client, servers) = random.of(&services).clone();
            client.set_port(1024 + random.below(CLIENTS) as u16);
            let (source, destination) =
                if random.below(2) == 0 { (random.of(&servers).address, client) } else { (client, vip) };
            let flags = match protocol {
                SCTP => random.of(&[1, 1, 2, 0, 10, 11, 11, 7, 8, 14, 9, 6]),
                _ => random.of(&[SYN, SYN, SYN | ACK, ACK, ACK, FIN | ACK, RST, 0]),
            };
            let packet = Packet {
                protocol,
                payload: vec![random.below(256) as u8; random.below(1500) as usize],
                hops: if random.below(10) == 0 { 1 } else { 64 },
                class: random.below(256) as u8,
                identification: random.below(1 << 16) as u16,
                dont_fragment: random.below(2) == 0,
                options: if vip.is_ipv4() { vec![1; 4 * random.below(11) as usize] } else { Vec::new() },
                vlan: (random.below(4) == 0).then_some(7),
                checksum: protocol == TCP || vip.is_ipv6() || random.below(4) != 0,
                padding: random.below(12) as usize,
                ..Packet::tcp(source, destination, *flags)
            };
            let mut frame = packet.frame();
            // One in four is damaged: in its headers, mostly.
            match random.below(8) {
                0 => {
                    let place = 12 + random.below(60) as usize % (frame.len() - 12);
                    frame[place] ^= 1 << random.below(8);
                }
                1 => frame.truncate(14 + random.below(frame.len() as u64 - 13) as usize),
                _ => {}
            }
            verdicts[match twins.receive(&frame).0 {
                Verdict::Pass => 0,
                Verdict::Drop => 1,
                Verdict::Transmit => 2,
                Verdict::Redirect(_) => 3,
            }] += 1;
        }
        ensure!(verdicts.iter().all(|times| *times > PACKETS / 1000), "one-sided: {verdicts:?}");
        for event in [Event::EvictedEmbryonic, Event::EvictedIdle, Event::TableFull] {
            ensure!(twins.simulation.events(event) == 0, "the table is too small for this test");
        }
        for (index, (protocol, vip, ..)) in (0..).zip(&services) {
            twins.compare_service(index, *protocol, *vip)?;
        }
        twins.compare()
    });
}

fn socket(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port)
}

/// Numbers that look random and are the same in each run.
pub struct Random(pub u64);

impl Random {
    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        split_mix(&mut self.0) % limit
    }

    /// One of several.
    pub fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }
}
