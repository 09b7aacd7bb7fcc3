//! Two cores at once, each with flows of its own, beside one.

use anyhow::Result;

use super::{FRAMES, SLOTS};
use crate::lab::{Lab, MILLION, Target, request};
use crate::network::{DR, NAT, Network, TUN, tables};
use crate::plan::{Plan, SYN};
use crate::report::{Report, Table, rounded};

const CPUS: [usize; 2] = [0, 1];

pub fn run(runs: u32, report: &mut Report) -> Result<()> {
    eprintln!("bench: two cores");
    if std::thread::available_parallelism()?.get() < CPUS.len() {
        report.notes.push("Two cores at once are left out: this machine has one.".into());
        return Ok(());
    }
    let network = Network::with_services(tables(SLOTS), "")?;
    report.tables.push(network.measure(1, move |mut lab| measure(&mut lab, runs))?);
    Ok(())
}

fn measure(lab: &mut Lab, runs: u32) -> Result<Table> {
    let mut rows = vec![row(lab, runs, "floor, 1 flow", Target::Floor, request(DR, 0))?];
    for method in [DR, TUN, NAT] {
        let name = method.name;
        let syn = Plan { tcp_flags: SYN, ..request(method, MILLION - 2) };
        rows.push(row(lab, runs, &format!("{name}, new connection"), Target::Director, syn)?);
        lab.establish(method)?;
        for (flows, words) in [(0, "1 flow"), (MILLION - 1, "524,288 flows")] {
            let title = format!("{name}, established, {words} each");
            rows.push(row(lab, runs, &title, Target::Director, request(method, flows))?);
        }
        lab.expire();
        lab.sweep();
    }
    Ok(Table {
        title: "One core and two at once, million frames a second, harness included (two CPUs of a virtual machine may share a core: \
                the floor's ratio is then the limit)",
        head: "case",
        columns: &["one core", "two cores", "ratio"],
        rows,
    })
}

/// Rates of one core (the mean of both), of both at once, and how many times that is one's: medians of the runs.
fn row(lab: &mut Lab, runs: u32, name: &str, target: Target, plan: Plan) -> Result<(String, Vec<f64>)> {
    lab.aim(target)?;
    let fresh = plan.tcp_flags == SYN;
    // All its flows once, or as many frames.
    let frames = if fresh { 1 << plan.flows } else { FRAMES / 2 };
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..=runs {
        let plans = CPUS.map(|cpu| (cpu, Plan { round, base: (cpu as u32) << (MILLION - 1), ..plan }));
        let mut measured = Vec::new();
        for at_once in [&plans[..1], &plans[1..], &plans[..]] {
            let times = lab.send_at_once(at_once, frames)?;
            measured.push(times.into_iter().map(rate).sum::<f64>());
            if fresh {
                lab.expire();
                lab.sweep();
            }
        }
        let (one, two) = ((measured[0] + measured[1]) / 2.0, measured[2]);
        // The first round warms up.
        if round > 0 {
            for (rates, rate) in rates.iter_mut().zip([one, two, two / one]) {
                rates.push(rate);
            }
        }
    }
    let middle = rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rounded(rates[rates.len() / 2], 2)
    });
    Ok((name.into(), middle.to_vec()))
}

/// Million frames a second; the kernel cuts the nanoseconds off to whole ones.
fn rate(nanoseconds: u32) -> f64 {
    1000.0 / (f64::from(nanoseconds) + 0.5)
}
