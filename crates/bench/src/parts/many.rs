//! 16,777,216 flows, in a table of 4 GiB, beside a million in the same table; and what they cost the director while nothing happens.

use anyhow::{Result, ensure};
use rlvs_director::config::Tables;

use super::{Case, available_memory, idle_cpu, in_turns};
use crate::lab::{Lab, MILLION, Target, reply, request};
use crate::network::{DR, Method, NAT, Network};
use crate::report::{Report, Row};

/// Entries of the connection table: those of DR and of NAT fill three quarters.
const SLOTS: u32 = 1 << 26;
/// log2 of the flows.
const FLOWS: u32 = 24;
/// Octets of memory that this takes: the table, and what the rest needs.
const MEMORY: u64 = 64 * SLOTS as u64 + (1 << 30);

pub fn run(runs: u32, report: &mut Report) -> Result<()> {
    eprintln!("bench: 16,777,216 flows");
    let available = available_memory()?;
    if available < MEMORY {
        let gib = |octets: u64| octets >> 30;
        report.notes.push(format!(
            "16,777,216 flows are left out: they take {} GiB of memory, and {} are available.",
            gib(MEMORY),
            gib(available)
        ));
        return Ok(());
    }
    let tables = Tables { connections: SLOTS, connections6: 64, ..Tables::default() };
    let network = Network::with_services(tables, "")?;
    let (_lab, rows) = network.measure(1, move |mut lab| {
        let mut rows = Vec::new();
        for method in [DR, NAT] {
            rows.extend(measure(&mut lab, method, runs)?);
        }
        Ok((lab, rows))
    })?;
    report.rows.extend(rows);
    report
        .fact("director's CPU with 33,554,432 idle connections, half of them by NAT, %", idle_cpu(&network)?);
    Ok(())
}

fn measure(lab: &mut Lab, method: Method, runs: u32) -> Result<Vec<Row>> {
    for million in 0..1 << (FLOWS - MILLION) {
        // In parts: what is not acknowledged in time expires.
        lab.open_connections(&crate::plan::Plan { base: million << MILLION, ..request(method, MILLION) })?;
    }
    let active = lab.active(method)?;
    ensure!(active == 1 << FLOWS, "{}: {active} established connections, not {}", method.name, 1 << FLOWS);
    let mut cases = vec![Case::new("shim alone", Target::Nothing, request(method, 0))];
    for flows in [MILLION, FLOWS] {
        let name = format!("{}, established, 16,777,216 live", method.name);
        cases.push(Case::new(name.clone(), Target::Director, request(method, flows)));
        if method.is_nat() {
            cases.push(Case::new(name + ", reply", Target::Director, reply(method, flows)));
        }
    }
    in_turns(lab, runs, cases)
}
