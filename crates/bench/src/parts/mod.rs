//! The parts of the report. Each makes its own director, so that it can be run alone.

mod cores;
mod live;
mod many;
mod methods;
mod schedulers;
mod services;
mod upkeep;
mod zipf;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::lab::{Lab, Target};
use crate::network::{self, Network};
use crate::plan::Plan;
use crate::report::{Report, Row, median, rounded};

/// Frames of a run: a million flows once.
const FRAMES: u32 = 1 << crate::lab::MILLION;
/// Entries of the connection tables.
const SLOTS: u32 = 1 << 22;

/// Time in which the director's CPU use is measured: two rounds of its sweeper through all buckets.
const IDLE: Duration = Duration::from_secs(24);

/// A part: its name, and what it does, so many runs of each case.
type Part = (&'static str, fn(u32, &mut Report) -> Result<()>);

/// In the order of the report. With three runs of each case all of them take about six minutes.
const PARTS: [Part; 7] = [
    ("methods", methods::run),
    ("flows", many::run),
    ("schedulers", schedulers::run),
    ("services", services::run),
    ("cores", cores::run),
    ("live", live::run),
    ("upkeep", upkeep::run),
];

/// What is to be measured.
pub struct Order {
    runs: u32,
    parts: Vec<Part>,
}

impl Order {
    /// Of the words `[--runs NUMBER] [PART...]`; without a part it is all of them.
    pub fn parse(words: &[String]) -> Result<Order> {
        let mut order = Order { runs: 3, parts: Vec::new() };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--runs" {
                let number = words.next().and_then(|number| number.parse().ok()).filter(|number| *number > 0);
                order.runs = number.context("--runs takes a number of at least 1")?;
                continue;
            }
            let names = || PARTS.map(|(name, _)| name).join(", ");
            let part = PARTS.into_iter().find(|(name, _)| name == word);
            order
                .parts
                .push(part.with_context(|| format!("no part is named {word:?}: there are {}", names()))?);
        }
        if order.parts.is_empty() {
            order.parts = PARTS.to_vec();
        }
        Ok(order)
    }

    /// Measures.
    pub fn run(&self, report: &mut Report) -> Result<()> {
        for (name, part) in &self.parts {
            let start = Instant::now();
            part(self.runs, report).with_context(|| format!("part {name}"))?;
            eprintln!("bench: {name}: {} s", start.elapsed().as_secs());
        }
        Ok(())
    }
}

/// A case: what the shim jumps to, and with which frames.
struct Case {
    name: String,
    target: Target,
    plan: Plan,
}

impl Case {
    fn new(name: impl Into<String>, target: Target, plan: Plan) -> Case {
        Case { name: name.into(), target, plan }
    }
}

/// Runs all cases in turns, after a round that warms up: a row for each. The first case is the shim alone.
fn in_turns(lab: &mut Lab, runs: u32, cases: Vec<Case>) -> Result<Vec<Row>> {
    ensure!(cases.first().is_some_and(|case| case.target == Target::Nothing), "the first case is the shim");
    let mut times = vec![Vec::new(); cases.len()];
    for round in 0..=runs {
        for (case, times) in cases.iter().zip(&mut times) {
            lab.aim(case.target)?;
            let (nanoseconds, _) = lab.send(&Plan { round, ..case.plan }, FRAMES)?;
            if round > 0 {
                times.push(nanoseconds);
            }
        }
    }
    let shim = median(&times[0]);
    let rows = cases.into_iter().zip(times);
    Ok(rows.map(|(case, runs)| Row { name: case.name, flows: 1 << case.plan.flows, runs, shim }).collect())
}

/// What part of a CPU (%) the director takes while nothing happens to what the tables hold.
fn idle_cpu(network: &Network) -> Result<f64> {
    let mut director = network.start_director()?;
    std::thread::sleep(Duration::from_secs(2));
    let before = network::cpu_time(director.id())?;
    std::thread::sleep(IDLE);
    let used = network::cpu_time(director.id())? - before;
    network::stop(&mut director)?;
    Ok(rounded(100.0 * used.as_secs_f64() / IDLE.as_secs_f64(), 2))
}

/// Octets of memory that may be taken, as `/proc/meminfo` says.
fn available_memory() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kilobytes.context("/proc/meminfo has no MemAvailable in kB")? << 10)
}

fn milliseconds(time: Duration) -> f64 {
    rounded(1000.0 * time.as_secs_f64(), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Order> {
        let words: Vec<String> = words.split_whitespace().map(String::from).collect();
        Order::parse(&words)
    }

    #[test]
    fn parts_are_named_or_all_of_them() {
        let order = parse("live --runs 2 cores").unwrap();
        assert_eq!(order.parts.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["live", "cores"]);
        assert_eq!((order.runs, parse("").unwrap().parts.len()), (2, PARTS.len()));
    }

    #[test]
    fn what_is_no_part_is_refused_with_those_there_are() {
        let error = parse("cors").err().unwrap().to_string();
        assert!(error.contains("cors") && error.contains("cores"), "{error}");
        assert!(parse("--runs").is_err() && parse("--runs 0").is_err());
    }
}
