//! What a million connections cost while nothing happens: memory, the director's CPU, listing, expiry.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::{FRAMES, SLOTS, idle_cpu, milliseconds};
use crate::network::{NAT, Network, tables};
use crate::report::Report;

pub fn run(_: u32, report: &mut Report) -> Result<()> {
    eprintln!("bench: upkeep");
    let network = Network::with_services(tables(SLOTS), "")?;
    let lab = network.measure(SLOTS, |mut lab| {
        lab.establish(NAT)?;
        Ok(lab)
    })?;

    report.fact("director's CPU with 1,048,576 idle NAT connections, %", idle_cpu(&network)?);

    report.facts.extend(network.director.run(move || {
        let mut lab = lab;
        let mut facts = Report::default();
        let start = Instant::now();
        let listed = lab.established();
        facts.fact("time to list 1,048,576 connections, ms", milliseconds(start.elapsed()));
        ensure!(listed == FRAMES as usize, "{listed} established connections are listed, not {FRAMES}");
        lab.expire();
        let start = Instant::now();
        let ended = lab.sweep();
        let took = milliseconds(start.elapsed());
        facts.fact("time to expire 1,048,576 NAT connections (2 entries each), ms", took);
        ensure!(ended == FRAMES as usize, "{ended} connections expired, not {FRAMES}");
        let (ours, kernels) = lab.octets()?;
        facts.fact("octets per DR or TUN connection", ours as f64);
        facts.fact("octets per NAT connection", (2 * ours) as f64);
        facts.fact("octets per connection in the kernel's LRU hash", kernels as f64);
        for (name, verified, octets) in lab.programs()? {
            facts.fact(format!("instructions verified: {name}"), f64::from(verified));
            facts.fact(format!("octets of machine code: {name}"), f64::from(octets));
        }
        Ok(facts.facts)
    })?);
    Ok(())
}
