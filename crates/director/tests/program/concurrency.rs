//! All CPUs at once on few connections in a tiny table, while the director sweeps it.

use crate::lab::*;
use crate::stream::Random;
use anyhow::{Context, Result, ensure};
use rlvs_director::sweeper::Sweeper;
use rlvs_packet::protocol::{TCP, UDP};
use rlvs_packet::tcp::{ACK, FIN, RST, SYN};
use rlvs_switch::destination::method::{DIRECT_ROUTE, MASQUERADE};
use rlvs_switch::order;
use rlvs_switch::simulation::{Packet, decode};
use std::thread;
use std::time::Duration;

const THREADS: u64 = 2;
const PACKETS: u64 = 60_000;
const CLIENTS: u64 = 48;
const SLOTS: u32 = 64;

#[test]
fn cpus_that_work_on_the_same_connections_leave_the_tables_in_order() {
    run(SLOTS, |twins| {
        for net in nets() {
            let servers = [server(MASQUERADE, net.server), server(DIRECT_ROUTE, net.server_2())];
            twins.add_service(TCP, net.vip, &servers)?;
            twins.add_service(UDP, net.vip, &servers)?;
        }
        let kernel = &twins.kernel;
        let settings = kernel.tables.settings();
        for timeout in settings.tcp_timeouts.iter().chain([&settings.udp_timeout]) {
            // Two ticks: connections expire under the CPUs' hands.
            timeout.store(2, order::PLAIN);
        }
        thread::scope(|scope| -> Result<()> {
            let senders: Vec<_> = (0..THREADS).map(|seed| scope.spawn(move || send(kernel, seed))).collect();
            let mut sweeper = Sweeper::default();
            while !senders.iter().all(|sender| sender.is_finished()) {
                sweeper.sweep(&kernel.tables);
                thread::sleep(Duration::from_millis(1));
            }
            for sender in senders {
                sender.join().ok().context("a sender panicked")??;
            }
            Ok(())
        })?;
        kernel.audit()?;
        let mut scheduled = 0;
        for net in nets() {
            for protocol in [TCP, UDP] {
                scheduled += kernel
                    .destinations(protocol, net.vip)?
                    .iter()
                    .map(|destination| destination.stats.connections)
                    .sum::<u64>();
            }
        }
        ensure!(scheduled > PACKETS / 100, "only {scheduled} connections were made");

        // Time passes, and nothing is left: no slot, and no connection in any count.
        thread::sleep(Duration::from_millis(300));
        let mut sweeper = Sweeper::default();
        for _ in 0..=Sweeper::PARTS {
            sweeper.sweep(&kernel.tables);
        }
        kernel.audit()?;
        for net in nets() {
            for protocol in [TCP, UDP] {
                for entry in kernel.destinations(protocol, net.vip)? {
                    ensure!((entry.active, entry.inactive) == (0, 0), "{entry:?}");
                }
            }
        }
        Ok(())
    });
}

fn send(kernel: &Kernel, seed: u64) -> Result<()> {
    let mut random = Random(seed);
    for _ in 0..PACKETS {
        let net = *random.of(&nets());
        let mut client = net.client;
        client.set_port(1024 + random.below(CLIENTS) as u16);
        let (source, destination) =
            if random.below(4) == 0 { (net.server, client) } else { (client, net.vip) };
        let packet = if random.below(4) == 0 {
            Packet::udp(source, destination)
        } else {
            Packet::tcp(source, destination, *random.of(&[SYN, SYN | ACK, ACK, FIN | ACK, RST | ACK]))
        };
        let (_, out) = kernel.receive(&packet.frame())?;
        let decoded = decode(&out).map_err(anyhow::Error::msg)?;
        ensure!(decoded.wrong_checksums.is_empty(), "{packet:?} became {decoded:?}");
    }
    Ok(())
}
