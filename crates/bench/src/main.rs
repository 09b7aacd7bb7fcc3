//! What the switch costs per packet: the loaded XDP programs, run by the kernel on frames of up to 1,048,576 flows in
//! random order, beside a floor (parse, exchange the MACs) and the same switch on the kernel's own hash map.
//!
//! Everything happens in a network namespace of its own, which ends with this program. A timing never makes it fail;
//! a frame that does not leave as it should does.
#![forbid(unsafe_code)]

mod budget;
mod lab;
mod network;
mod plan;
mod report;

use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_setaffinity};

use lab::{FLOWS_MAX, Lab, Target, reply, request};
use network::{DR, METHODS, Method, NAT};
use plan::{Plan, SYN};
use report::{Report, Row, median};

/// Frames of a run: all flows once.
const FRAMES: u32 = 1 << FLOWS_MAX;
const RUNS: u32 = 5;
/// Entries of the connection tables.
const SLOTS: u32 = 1 << 22;
/// Time in which the director's CPU use is measured.
const IDLE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    // Another word than this one is for nobody to type: `cargo xtask bench` starts this program.
    let done = match std::env::args().nth(1).as_deref() {
        Some("budget") => budget::run(),
        _ => run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let host = network::with_services(SLOTS)?;

    let (mut lab, mut report) = host.run(|| {
        let mut cpus = CpuSet::new();
        cpus.set(1);
        if sched_setaffinity(None, &cpus).is_err() {
            eprintln!("bench: there is no CPU 1 to stay on");
        }
        let mut lab = Lab::open(SLOTS)?;
        let mut report = Report::default();
        for method in METHODS {
            measure(&mut lab, method, &mut report)?;
        }
        lab.establish(NAT)?;
        Ok((lab, report))
    })?;

    let mut director = network::start_director(&host)?;
    std::thread::sleep(Duration::from_secs(2));
    let before = network::cpu_time(director.id())?;
    std::thread::sleep(IDLE);
    let used = network::cpu_time(director.id())? - before;
    director.signal(rustix::process::Signal::TERM)?;
    director.wait(Duration::from_secs(10))?;
    report.fact("director's CPU with 1,048,576 idle NAT connections, %", percent(used, IDLE));

    let report = host.run(move || {
        let start = Instant::now();
        let listed = lab.established();
        report.fact("time to list 1,048,576 connections, ms", milliseconds(start));
        ensure!(listed == FRAMES as usize, "{listed} established connections are listed, not {FRAMES}");
        lab.expire();
        let start = Instant::now();
        let ended = lab.sweep();
        report.fact("time to expire 1,048,576 NAT connections (2 entries each), ms", milliseconds(start));
        ensure!(ended == FRAMES as usize, "{ended} connections expired, not {FRAMES}");
        let (ours, kernels) = lab.octets()?;
        report.fact("octets per DR or TUN connection", ours as f64);
        report.fact("octets per NAT connection", (2 * ours) as f64);
        report.fact("octets per connection in the kernel's LRU hash", kernels as f64);
        for (name, verified, octets) in lab.programs()? {
            report.fact(format!("instructions verified: {name}"), f64::from(verified));
            report.fact(format!("octets of machine code: {name}"), f64::from(octets));
        }
        Ok(report)
    })?;

    let machine = machine();
    println!("{}", report.markdown(&machine));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench.json");
    std::fs::write(&path, format!("{:#}\n", report.json(&machine)))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// A case: what the shim jumps to, and with which frames.
struct Case {
    name: String,
    target: Target,
    plan: Plan,
}

/// One forwarding method's rows: established connections, then new ones. Leaves an empty table.
fn measure(lab: &mut Lab, method: Method, report: &mut Report) -> Result<()> {
    eprintln!("bench: {}", method.name);
    let name = method.name;
    let mut fresh = vec![Vec::new(), Vec::new()];
    let syn = Plan { tcp_flags: SYN, ..request(method, FLOWS_MAX) };
    for round in 0..RUNS {
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
    let mut cases =
        vec![Case { name: "shim alone".into(), target: Target::Nothing, plan: request(method, 0) }];
    if !method.six {
        cases.push(Case { name: "floor".into(), target: Target::Floor, plan: request(method, 0) });
    }
    for flows in [0, 12, 16, FLOWS_MAX] {
        let plan = request(method, flows);
        cases.push(Case { name: format!("{name}, established"), target: Target::Director, plan });
        if method.is_nat() {
            let plan = reply(method, flows);
            cases.push(Case { name: format!("{name}, established, reply"), target: Target::Director, plan });
        }
        if method == DR {
            let name = "DR, established, on the kernel's LRU hash".into();
            cases.push(Case { name, target: Target::KernelMap, plan });
        }
    }
    if method == DR {
        lab.establish_in_kernel_map(method)?;
    }
    let mut runs = vec![Vec::new(); cases.len()];
    // The first round warms up.
    for round in 0..=RUNS {
        for (case, runs) in cases.iter().zip(&mut runs) {
            lab.aim(case.target)?;
            let (nanoseconds, _) = lab.send(&Plan { round, ..case.plan }, FRAMES)?;
            if round > 0 {
                runs.push(nanoseconds);
            }
        }
    }
    let shim = median(&runs[0]);
    for (case, runs) in cases.into_iter().zip(runs) {
        report.rows.push(Row { name: case.name, flows: 1 << case.plan.flows, runs, shim });
    }
    let titles = ["new connection, empty table", "new connection, 1,048,576 others live"];
    for (title, runs) in titles.into_iter().zip(fresh).filter(|(_, runs)| !runs.is_empty()) {
        report.rows.push(Row { name: format!("{name}, {title}"), flows: FRAMES, runs, shim });
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

fn milliseconds(since: Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 10_000.0).round() / 10.0
}

fn percent(part: Duration, whole: Duration) -> f64 {
    (10_000.0 * part.as_secs_f64() / whole.as_secs_f64()).round() / 100.0
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
