//! Frames that are really moved: each is sent on by the director's interface and received at the other end of its cable.

use anyhow::{Result, ensure};

use super::{FRAMES, SLOTS};
use crate::lab::{BATCH, Lab, MILLION, Target, request};
use crate::network::{DR, FAR, NAT, Network, TUN, tables};
use crate::plan::Plan;
use crate::report::{Report, Table, median, rounded};
use crate::sink::Sink;

pub fn run(runs: u32, report: &mut Report) -> Result<()> {
    eprintln!("bench: live frames");
    let network = Network::with_services(tables(2 * SLOTS), "")?;
    let sink = Sink::open(&network.far, FAR)?;
    report.tables.push(network.measure(1, move |mut lab| measure(&mut lab, &sink, runs))?);
    Ok(())
}

fn measure(lab: &mut Lab, sink: &Sink, runs: u32) -> Result<Table> {
    for method in [DR, TUN, NAT] {
        lab.establish(method)?;
    }
    let cases = [(0, "1 flow"), (MILLION, "1,048,576 flows")].map(|(flows, words)| {
        let mut cases = vec![(format!("floor, {words}"), Target::Floor, request(DR, flows))];
        for method in [DR, TUN, NAT] {
            cases.push((format!("{}, {words}", method.name), Target::Director, request(method, flows)));
        }
        cases
    });
    let mut rows = Vec::new();
    for cases in cases {
        let mut times = vec![Vec::new(); cases.len()];
        for round in 0..=runs {
            for ((name, target, plan), times) in cases.iter().zip(&mut times) {
                lab.aim(*target)?;
                let before = sink.taken()?;
                let nanoseconds = lab.send_live(&Plan { round, ..*plan }, FRAMES)?;
                let arrived = sink.taken()? - before;
                // The kernel stops after whole batches.
                ensure!(
                    arrived + u64::from(BATCH) > u64::from(FRAMES),
                    "{name}: {arrived} of {FRAMES} frames arrived"
                );
                // The first round warms up.
                if round > 0 {
                    times.push(nanoseconds);
                }
            }
        }
        let medians: Vec<f64> = times.iter().map(|times| median(times).into()).collect();
        rows.extend(
            cases.into_iter().zip(&medians).map(|((name, ..), time)| {
                (name, vec![*time, time - medians[0], rounded(time / medians[0], 2)])
            }),
        );
    }
    Ok(Table {
        title: "Frames really moved (live frames by a veth pair to a program that drops and counts them), one core, ns per frame, harness included",
        head: "case",
        columns: &["ns", "more than the floor", "ratio"],
        rows,
    })
}
