//! What choosing a destination costs a new connection: wlc beside rr, by the number of real servers.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;

use crate::lab::{Lab, Target, request};
use crate::network::{DR, Network, PORT, tables};
use crate::plan::{Plan, SYN};
use crate::report::{Report, Table, median, rounded};

const SERVERS: [u32; 3] = [16, 256, 4096];
const SCHEDULERS: [&str; 2] = ["rr", "wlc"];
/// Where the services are, one address after the other.
const FIRST: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 0);
/// log2 of the connections of a run.
const FLOWS: u32 = 14;
const SLOTS: u32 = 1 << 18;

pub fn run(runs: u32, report: &mut Report) -> Result<()> {
    eprintln!("bench: schedulers");
    let rules: String =
        services().map(|(service, scheduler, servers)| rules(service, scheduler, servers)).collect();
    let network = Network::with_services(tables(SLOTS), &rules)?;
    report.tables.push(network.measure(1, move |mut lab| measure(&mut lab, runs))?);
    Ok(())
}

/// Address, scheduler and number of real servers of each.
fn services() -> impl Iterator<Item = (Ipv4Addr, &'static str, u32)> {
    let kinds = SERVERS.into_iter().flat_map(|servers| SCHEDULERS.map(|scheduler| (scheduler, servers)));
    (FIRST.to_bits()..)
        .zip(kinds)
        .map(|(at, (scheduler, servers))| (Ipv4Addr::from_bits(at), scheduler, servers))
}

/// As `ipvsadm -S` prints them. All real servers are behind one router.
fn rules(service: Ipv4Addr, scheduler: &str, servers: u32) -> String {
    let service = SocketAddr::from((service, PORT));
    let first = Ipv4Addr::new(172, 20, 0, 0).to_bits();
    let servers = (first..first + servers)
        .map(|server| format!("-a -t {service} -r {}:{PORT} -g\n", Ipv4Addr::from_bits(server)));
    std::iter::once(format!("-A -t {service} -s {scheduler}\n")).chain(servers).collect()
}

fn measure(lab: &mut Lab, runs: u32) -> Result<Table> {
    let mut times = vec![Vec::new(); services().count()];
    let mut shim = Vec::new();
    let syn = Plan { tcp_flags: SYN, ..request(DR, FLOWS) };
    for round in 0..=runs {
        lab.aim(Target::Nothing)?;
        shim.push(lab.send(&syn, 1 << FLOWS)?.0);
        lab.aim(Target::Director)?;
        for ((service, ..), times) in services().zip(&mut times) {
            let plan = Plan { round, destination: (service.into(), PORT), ..syn };
            let (nanoseconds, _) = lab.send(&plan, 1 << FLOWS)?;
            // The first round warms up.
            if round > 0 {
                times.push(nanoseconds);
            }
        }
        lab.expire();
        lab.sweep();
    }
    let shim = median(&shim);
    let nets: Vec<f64> = times.iter().map(|times| f64::from(median(times)) - f64::from(shim)).collect();
    let rows = SERVERS.into_iter().zip(nets.chunks(SCHEDULERS.len())).map(|(servers, nets)| {
        (
            format!("DR, new connection, {servers} real servers"),
            vec![nets[0], nets[1], rounded(nets[1] / nets[0], 2)],
        )
    });
    Ok(Table {
        title: "A new connection by the number of real servers, net ns",
        head: "case",
        columns: &["rr", "wlc", "wlc / rr"],
        rows: rows.collect(),
    })
}
