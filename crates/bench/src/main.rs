//! What the switch costs per packet: the loaded XDP programs, run by the kernel on frames of up to 16,777,216 flows in
//! random order, beside a floor (parse, exchange the MACs) and the same switch on the kernel's own hash map.
//!
//! Everything happens in network namespaces of its own, which end with this program. A timing never makes it fail;
//! a frame that does not leave as it should does.
#![forbid(unsafe_code)]

mod budget;
mod lab;
mod network;
mod parts;
mod plan;
mod report;
mod sink;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

use parts::Order;
use report::Report;

fn main() -> ExitCode {
    // Nobody need type these words: `cargo xtask bench` starts this program.
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.first().map(String::as_str) {
        Some("budget") => budget::run(),
        _ => Order::parse(&words).and_then(|order| run(&order)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(order: &Order) -> Result<()> {
    let mut report = Report::default();
    order.run(&mut report)?;
    let machine = machine();
    println!("{}", report.markdown(&machine));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench.json");
    std::fs::write(&path, format!("{:#}\n", report.json(&machine)))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Processor and kernel.
fn machine() -> String {
    let name = rustix::system::uname();
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|line| line.starts_with("model name"));
    let model = line.and_then(|line| line.split_once(": ")).map_or("unknown processor", |(_, model)| model);
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let (system, release) = (name.sysname().to_string_lossy(), name.release().to_string_lossy());
    format!("{model}, {cpus} CPUs, {system} {release}")
}
