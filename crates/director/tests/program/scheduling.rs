//! Every scheduler's program chooses as in the simulation, from what the director wrote, and as was explained.

use crate::explain;
use crate::lab::{at, nets, run, server};
use rlvs_ipvs::ServiceFlags;
use rlvs_packet::protocol::TCP;
use rlvs_packet::tcp::SYN;
use rlvs_switch::Verdict;
use rlvs_switch::destination::method::DIRECT_ROUTE;
use rlvs_switch::scheduler::Scheduler;
use rlvs_switch::simulation::Packet;

/// Slots of the tables.
const SLOTS: u32 = 1 << 12;

#[test]
fn each_scheduler_chooses_as_in_the_simulation() {
    run(SLOTS, |twins| {
        let fallback_and_port = ServiceFlags::SCHED1 | ServiceFlags::SCHED2;
        let v4 = ["10.2.0.1:8080", "10.2.0.2:8080", "10.2.0.3:8080", "10.2.0.4:8080"];
        let v6 = ["[fd02::1]:8080", "[fd02::2]:8080", "[fd02::3]:8080", "[fd02::4]:8080"];
        let mut index = 0;
        for (net, addresses) in nets().into_iter().zip([v4, v6]) {
            let servers: Vec<_> = addresses
                .into_iter()
                .zip([3, 0, 1, 2])
                .map(|(address, weight)| server(DIRECT_ROUTE, at(address)).weight(weight))
                .collect();
            // The lots of power of two choices are each home's own.
            let schedulers = Scheduler::ALL.into_iter().filter(|s| *s != Scheduler::PowerOfTwo);
            for scheduler in schedulers {
                for flags in [ServiceFlags::empty(), fallback_and_port] {
                    let mut vip = net.vip;
                    vip.set_port(1000 + index as u16);
                    twins.add_scheduled(scheduler, flags, TCP, vip, &servers)?;
                    let mut served = 0;
                    for n in 0..40 {
                        let mut client = net.client;
                        client.set_port(2000 + n);
                        let packet = Packet::tcp(client, vip, SYN);
                        let told = explain::ask(&twins.kernel, &packet)?;
                        let (verdict, _) = twins.receive(&packet.frame());
                        assert_eq!(told.verdict, verdict);
                        explain::follows(&told, scheduler);
                        served += u32::from(matches!(verdict, Verdict::Redirect(_)));
                    }
                    let name = scheduler.name();
                    let may_refuse =
                        matches!(name, "none" | "dh" | "ovf") || name == "sh" && flags.is_empty();
                    assert!(served == 40 || may_refuse, "{name}: {served} of 40");
                    twins.compare_service(index, TCP, vip)?;
                    index += 1;
                }
            }
        }
        twins.compare()
    });
}
