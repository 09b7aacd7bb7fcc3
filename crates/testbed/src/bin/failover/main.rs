//! What clients notice when directors and real servers fail: two directors that stand in for each other, three real servers
//! with nginx, and a client with downloads, requests over kept and over new connections, and a datagram each millisecond. A table
//! says for each event how long there was no service, and what broke.
//!
//! Measuring, not testing: nothing here fails because something took long.
#![forbid(unsafe_code)]

mod event;
mod load;
mod peer;
mod prober;
mod scene;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rlvs_testbed::Method;

use event::Event;
use load::Noticed;
use scene::Scene;

/// Time between advertisements.
const INTERVALS: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(10)];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failover: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "network namespaces and XDP need root: build with `cargo xtask build`, then run `cargo xtask failover` as root"
    );
    // All, or those whose names contain the word that is given: "dr 10"; or what runs in a guest with the kernel's IPVS.
    let filter = std::env::args().nth(1).unwrap_or_default().to_lowercase();
    if filter == "--peer" {
        return peer::run();
    }
    for method in [Method::Nat, Method::Dr] {
        for interval in INTERVALS {
            let name = format!("{method:?} {}", interval.as_millis()).to_lowercase();
            if !name.contains(&filter) {
                continue;
            }
            show(method, interval).with_context(|| format!("{method:?}, {interval:?}"))?;
        }
    }
    Ok(())
}

fn show(method: Method, interval: Duration) -> Result<()> {
    println!("\n### {method:?}, advertisements each {} ms\n", interval.as_millis());
    println!("Goal for the gap when a director fails: {} ms.\n", interval.as_secs_f64() * 3100.0 + 50.0);
    println!(
        "| event | gap, ms | datagrams lost | broken downloads | failed, kept | failed, new | server out after, ms |"
    );
    println!("| --- | --: | --: | --: | --: | --: | --: |");
    let mut scene = Scene::start(method, interval)?;
    for event in Event::ALL {
        scene.settle(event.master()).with_context(|| format!("before \"{}\"", event.name()))?;
        let noticed = event.measure(&mut scene).with_context(|| event.name().to_owned())?;
        println!("{}", row(event, &noticed));
    }
    Ok(())
}

fn row(event: Event, noticed: &Noticed) -> String {
    format!(
        "| {} | {:.0} | {} of {} | {} of {} | {} of {} | {} of {} | {} |",
        event.name(),
        noticed.datagrams.gap.as_secs_f64() * 1000.0,
        noticed.datagrams.lost,
        noticed.datagrams.sent,
        noticed.broken,
        load::DOWNLOADS,
        noticed.kept.failed,
        noticed.kept.requests + noticed.kept.failed,
        noticed.new.failed,
        noticed.new.requests + noticed.new.failed,
        noticed.out.map_or_else(String::new, |out| out.as_millis().to_string()),
    )
}
