//! Defence against floods, as the switch does it.

use crate::lab::*;
use anyhow::Context;
use rlvs_packet::protocol::TCP;
use rlvs_packet::tcp::{ACK, FIN, RST, SYN};
use rlvs_switch::destination::method::{DIRECT_ROUTE, MASQUERADE};
use rlvs_switch::simulation::Packet;
use rlvs_switch::{Memory, Verdict, order};
use std::net::SocketAddr;

#[test]
fn drop_packet_takes_the_same_packets() {
    run(1 << 10, |twins| {
        for net in nets() {
            twins.add_service(TCP, net.vip, &[server(DIRECT_ROUTE, net.server)])?;
            for config in [twins.kernel.tables.settings(), twins.simulation.config().context("settings")?] {
                config.settings.drop_rate.store(3, order::PLAIN);
                config.settings.drop_counter.store(0, order::PLAIN);
            }
            let dropped: Vec<u16> = (1..=10)
                .filter(|port| {
                    let client = SocketAddr::new(net.client.ip(), 1000 + port);
                    twins.receive(&Packet::tcp(client, net.vip, SYN).frame()).0 == Verdict::Drop
                })
                .collect();
            assert_eq!(dropped, [1, 4, 7, 10]);
        }
        twins.compare()
    });
}

/// Each path through `secure_tcp`'s table that a client and a server can take in three packets.
#[test]
fn secure_tcp_follows_the_same_states() {
    run(1 << 12, |twins| {
        for config in [twins.kernel.tables.settings(), twins.simulation.config().context("settings")?] {
            config.settings.secure_tcp.store(1, order::PLAIN);
        }
        for (index, net) in (0..).zip(nets()) {
            twins.add_service(TCP, net.vip, &[server(MASQUERADE, net.server)])?;
            let flags = [SYN, SYN | ACK, ACK, FIN | ACK, RST];
            let packets: Vec<(bool, u8)> =
                [true, false].into_iter().flat_map(|c| flags.map(|f| (c, f))).collect();
            for (number, path) in packets.iter().flat_map(|a| packets.iter().map(move |b| [a, b])).enumerate()
            {
                let client = SocketAddr::new(net.client.ip(), 2000 + number as u16);
                let _opened = twins.receive(&Packet::tcp(client, net.vip, SYN).frame());
                for (from_client, flags) in path {
                    let (source, destination) =
                        if *from_client { (client, net.vip) } else { (net.server, client) };
                    let _followed = twins.receive(&Packet::tcp(source, destination, *flags).frame());
                }
            }
            twins.compare_service(index, TCP, net.vip)?;
        }
        twins.compare()
    });
}
