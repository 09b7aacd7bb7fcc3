//! The sweeper, which looks at a bucket only when something in it may be due.

use crate::lab::*;
use anyhow::ensure;
use rlvs_director::sweeper::Sweeper;
use rlvs_packet::protocol::UDP;
use rlvs_switch::config::Tick;
use rlvs_switch::destination::method::MASQUERADE;
use rlvs_switch::order;
use rlvs_switch::simulation::Packet;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

/// Ticks; half a second.
const TIMEOUT: u32 = 8;
const CONNECTIONS: u16 = 20;

/// More than the timeout, and a tick for each of the clocks.
const PASSES: Duration = Duration::from_millis((TIMEOUT as u64 + 2) * ((1 << Tick::SHIFT) / 1_000_000 + 1));

#[test]
fn connections_that_came_since_the_last_look_are_swept_in_time() {
    run(1 << 10, |twins| {
        for net in nets() {
            twins.add_service(UDP, net.vip, &[server(MASQUERADE, net.server)])?;
        }
        let mut sweeper = Sweeper::default();
        let sweep = |sweeper: &mut Sweeper| -> usize {
            (0..Sweeper::PARTS).map(|_| sweeper.sweep(&twins.kernel.tables)).sum()
        };
        // Looked at while nothing is there, and with timeouts that leave time.
        ensure!(sweep(&mut sweeper) == 0);
        let settings = twins.kernel.tables.settings();
        for cell in settings.tcp_timeouts.iter().chain(&settings.sctp_timeouts).chain([&settings.udp_timeout])
        {
            cell.store(TIMEOUT, order::PLAIN);
        }
        for _ in 0..2 {
            for net in nets() {
                for port in 1..=CONNECTIONS {
                    let client = SocketAddr::new(net.client.ip(), 1000 + port);
                    twins.kernel.receive(&Packet::udp(client, net.vip).frame())?;
                }
            }
            // Looked at while they live, unless the machine is slow.
            let mut ended = sweep(&mut sweeper);
            thread::sleep(PASSES);
            ended += sweep(&mut sweeper);
            ensure!(ended == 2 * usize::from(CONNECTIONS), "{ended} connections ended");
            ensure!(sweep(&mut sweeper) == 0, "nothing is left");
        }
        twins.kernel.audit()
    });
}
