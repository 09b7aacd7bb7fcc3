//! Each forwarding method: established connections of few and many flows, and new ones.

use std::net::IpAddr;

use anyhow::{Result, ensure};

use super::{Case, FRAMES, SLOTS, in_turns, zipf};
use crate::lab::{Lab, MILLION, Target, reply, request};
use crate::network::{DR, METHODS, Method, Network, tables};
use crate::plan::{Plan, SYN};
use crate::report::{Report, Row};

pub fn run(runs: u32, report: &mut Report) -> Result<()> {
    let network = Network::with_services(tables(SLOTS), "")?;
    report.rows.extend(network.measure(SLOTS, move |mut lab| {
        zipf::draw(&mut lab)?;
        let mut rows = Vec::new();
        for method in METHODS {
            measure(&mut lab, method, runs, &mut rows)?;
        }
        Ok(rows)
    })?);
    Ok(())
}

/// One forwarding method's rows: established connections, then new ones. Leaves an empty table.
fn measure(lab: &mut Lab, method: Method, runs: u32, rows: &mut Vec<Row>) -> Result<()> {
    let name = method.name;
    eprintln!("bench: {name}");
    let mut fresh = vec![Vec::new(), Vec::new()];
    let syn = Plan { tcp_flags: SYN, ..request(method, MILLION) };
    for round in 0..runs {
        lab.aim(Target::Director)?;
        fresh[0].push(lab.send(&Plan { round, ..syn }, FRAMES)?.0);
        if !method.is_nat() {
            // With NAT they would fill the table.
            fresh[1].push(lab.send(&Plan { round, base: FRAMES, ..syn }, FRAMES)?.0);
        }
        lab.expire();
        lab.sweep();
    }

    lab.establish(method)?;
    let established = lab.established();
    ensure!(established == FRAMES as usize, "{name}: {established} established connections, not {FRAMES}");
    check(lab, method)?;
    let mut cases = vec![Case::new("shim alone", Target::Nothing, request(method, 0))];
    if !method.six {
        cases.push(Case::new("floor", Target::Floor, request(method, 0)));
    }
    for flows in [0, 12, 16, MILLION] {
        let plan = request(method, flows);
        cases.push(Case::new(format!("{name}, established"), Target::Director, plan));
        if method.is_nat() {
            let plan = reply(method, flows);
            cases.push(Case::new(format!("{name}, established, reply"), Target::Director, plan));
        }
        if method == DR {
            cases.push(Case::new("DR, established, on the kernel's LRU hash", Target::KernelMap, plan));
        }
    }
    if method == DR {
        lab.establish_in_kernel_map(method)?;
    }
    let established = in_turns(lab, runs, cases)?;
    let shim = established[0].shim;
    rows.extend(established);
    rows.extend(in_turns(lab, runs, zipf::cases(method))?);
    let titles = ["new connection, empty table", "new connection, 1,048,576 others live"];
    for (title, runs) in titles.into_iter().zip(fresh).filter(|(_, runs)| !runs.is_empty()) {
        rows.push(Row { name: format!("{name}, {title}"), flows: FRAMES, runs, shim });
    }
    lab.expire();
    lab.sweep();
    Ok(())
}

/// Whether a frame leaves as its forwarding method demands.
fn check(lab: &mut Lab, method: Method) -> Result<()> {
    lab.aim(Target::Director)?;
    let plan = request(method, 0);
    let (_, frame) = lab.send(&plan, 3)?;
    let outer = match (method.is_tunnel(), method.six) {
        (false, _) => 0,
        (true, false) => 20,
        (true, true) => 40,
    };
    ensure!(frame.len() == plan.length() + outer, "{}: {frame:x?}", method.name);
    let receiver = if method.is_nat() || method.is_tunnel() { method.real_server() } else { method.vip() };
    let sent_to: IpAddr = match method.six {
        false => <[u8; 4]>::try_from(&frame[30..34])?.into(),
        true => <[u8; 16]>::try_from(&frame[38..54])?.into(),
    };
    ensure!(sent_to == receiver, "{}: sent to {sent_to}", method.name);
    ensure!(frame[0..5] == [2, 0, 0, 0, 0] && frame[5] != 9, "{}: the MACs are as they were", method.name);
    Ok(())
}
