//! Every scheduler's program chooses as in the simulation, from what the director wrote, and as was explained.

use crate::explain;
use crate::lab::{at, nets, run, server, service_id};
use rlvs_ipvs::{Request, Service, ServiceFlags};
use rlvs_packet::protocol::TCP;
use rlvs_packet::tcp::SYN;
use rlvs_switch::Verdict;
use rlvs_switch::destination::method::DIRECT_ROUTE;
use rlvs_switch::scheduler::Scheduler;
use rlvs_switch::simulation::Packet;

/// Slots of the tables.
const SLOTS: u32 = 1 << 12;

/// Weighted round robin that another scheduler becomes begins with the highest weights, as IPVS's does, though each
/// server that was added before had begun a round.
#[test]
fn another_scheduler_begins_anew() {
    run(SLOTS, |twins| {
        let net = nets()[0];
        let servers: Vec<_> = [5, 3, 2, 1]
            .into_iter()
            .zip(["10.2.0.1:80", "10.2.0.2:80", "10.2.0.3:80", "10.2.0.4:80"])
            .map(|(weight, address)| server(DIRECT_ROUTE, at(address)).weight(weight))
            .collect();
        let rr = Scheduler::RoundRobin;
        twins.add_scheduled(rr, ServiceFlags::empty(), TCP, net.vip, &servers)?;
        let id = service_id(TCP, net.vip);
        let weighted = Service { scheduler: "wrr".into(), ..Service::new(id) };
        twins.kernel.request(Request::SetService(weighted)).unwrap();
        for port in 2000..2004 {
            let mut client = net.client;
            client.set_port(port);
            twins.kernel.receive(&Packet::tcp(client, net.vip, SYN).frame())?;
        }
        let mut counted: Vec<_> = twins
            .kernel
            .destinations(TCP, net.vip)?
            .iter()
            .map(|entry| (entry.destination.weight, entry.stats.connections))
            .collect();
        counted.sort_unstable();
        assert_eq!(counted, [(1, 0), (2, 0), (3, 1), (5, 3)], "thresholds 5, 4 and 3");
        Ok(())
    });
}

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
