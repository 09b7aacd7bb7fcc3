//! 10,000 services: the time to add them, and what packets cost that are spread over all of them, beside packets for one. And the time to
//! add 1,000 services of 1,000 real servers each.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use rlvs_director::config::Tables;

use super::{Case, available_memory, in_turns};
use crate::lab::{Lab, Target, request};
use crate::network::{self, DR, Network, PORT};
use crate::plan::{FIRST_SERVICE, Plan, SYN};
use crate::report::{Report, Row, rounded};

const SERVICES: u32 = 10_000;
/// Real servers of each service, the same machines for all.
const SERVERS: u32 = 2;
/// Services that have many real servers, and how many.
const LARGE: u32 = 1_000;
/// Their schedulers: one that goes through a list, and one that has a table computed.
const SCHEDULERS: [&str; 2] = ["rr", "mh"];
/// Octets of memory that all of these take: in the shared tables and in the director.
const MEMORY: u64 = 4 << 30;
/// log2 of the flows.
const FLOWS: u32 = 16;
const SLOTS: u32 = 1 << 20;

pub fn run(runs: u32, report: &mut Report) -> Result<()> {
    eprintln!("bench: services");
    let tables = Tables {
        connections: SLOTS,
        connections6: 64,
        services: 2 * SERVICES,
        destinations: 2 * SERVICES * SERVERS,
    };
    let network = Network::with_services(tables, "")?;
    let mut director = network.start_director()?;
    let took = network.restore(&rules(SERVICES, SERVERS, "rr"))?;
    network::stop(&mut director)?;
    report.fact(
        format!("time to add 10,000 services of {SERVERS} real servers each by `ipvsadm -R`, s"),
        rounded(took.as_secs_f64(), 2),
    );
    report.rows.extend(network.measure(1, move |mut lab| measure(&mut lab, runs))?);
    drop(network);
    add_large(report)
}

fn add_large(report: &mut Report) -> Result<()> {
    if available_memory()? < MEMORY {
        let gib = MEMORY >> 30;
        report.notes.push(format!("A million real servers are left out: they take {gib} GiB of memory."));
        return Ok(());
    }
    for scheduler in SCHEDULERS {
        // As many parts of hash tables as the services need.
        let services = 4 * LARGE;
        let tables = Tables { connections: 64, connections6: 64, services, destinations: LARGE * LARGE + 64 };
        let network = Network::with_services(tables, "")?;
        let mut director = network.start_director()?;
        let took = network.restore(&rules(LARGE, LARGE, scheduler))?;
        network::stop(&mut director)?;
        report.fact(
            format!("time to add 1,000 services of 1,000 real servers each by `ipvsadm -R`, {scheduler}, s"),
            rounded(took.as_secs_f64(), 2),
        );
    }
    Ok(())
}

/// As `ipvsadm -S` prints them. All real servers are behind one router.
fn rules(services: u32, servers: u32, scheduler: &str) -> String {
    let first_server = Ipv4Addr::new(172, 20, 0, 0).to_bits();
    let service = |number| {
        let service = SocketAddr::from((Ipv4Addr::from_bits(FIRST_SERVICE.to_bits() + number), PORT));
        let servers = (first_server..first_server + servers)
            .map(move |server| format!("-a -t {service} -r {}:{PORT} -g\n", Ipv4Addr::from_bits(server)));
        std::iter::once(format!("-A -t {service} -s {scheduler}\n")).chain(servers)
    };
    (0..services).flat_map(service).collect()
}

fn measure(lab: &mut Lab, runs: u32) -> Result<Vec<Row>> {
    let all = Plan { services: SERVICES, ..request(DR, FLOWS) };
    let one = Plan { services: 1, base: 1 << FLOWS, ..all };
    let mut fresh = [Vec::new(), Vec::new()];
    lab.aim(Target::Director)?;
    for round in 0..=runs {
        for (plan, times) in [one, all].into_iter().zip(&mut fresh) {
            let (nanoseconds, _) = lab.send(&Plan { round, tcp_flags: SYN, ..plan }, 1 << FLOWS)?;
            // The first round warms up.
            if round > 0 {
                times.push(nanoseconds);
            }
        }
        lab.expire();
        lab.sweep();
    }
    for plan in [one, all] {
        lab.open_connections(&plan)?;
    }
    let cases = vec![
        Case::new("shim alone, spread over services", Target::Nothing, all),
        Case::new("DR, established, one of 10,000 services", Target::Director, one),
        Case::new("DR, established, spread over 10,000 services", Target::Director, all),
    ];
    let mut rows = in_turns(lab, runs, cases)?;
    let shim = rows[0].shim;
    let titles = ["one of 10,000 services", "spread over 10,000 services"];
    for (title, runs) in titles.into_iter().zip(fresh) {
        rows.push(Row { name: format!("DR, new connection, {title}"), flows: 1 << FLOWS, runs, shim });
    }
    Ok(rows)
}
