//! What the switch costs per packet: the loaded XDP programs, run by the kernel on frames of up to 16,777,216 flows in
//! random order, beside a floor (parse, exchange the MACs) and the same switch on the kernel's own hash map.
//!
//! Everything happens in network namespaces of its own, which end with this program. A timing never makes it fail;
//! a frame that does not leave as it should does.
#![forbid(unsafe_code)]

mod beside;
mod budget;
mod datagrams;
mod lab;
mod network;
mod parts;
mod peers;
mod plan;
mod report;
mod sink;

use std::process::ExitCode;

use anyhow::Result;

use parts::Order;
use report::Report;

fn main() -> ExitCode {
    // Nobody need type these words: `cargo xtask bench` starts this program.
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.first().map(String::as_str) {
        Some("budget") => budget::run(),
        Some("beside") => beside::run(),
        Some("peers") => peers::run(),
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
    report.publish("bench.json")
}
