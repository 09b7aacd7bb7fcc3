//! Development tasks: `cargo xtask build`, `test`, `conformance`, `fuzz`, `demo`, `failover`, `bench`.
//!
//! The switch is an XDP program, which ordinary `cargo build` cannot make: it needs a compiler that builds `core` for
//! the BPF target, and a linker that writes BPF objects. These tasks find both, or install them, and say which.
#![forbid(unsafe_code)]

mod bench;
mod command;
mod conformance;
mod distribution;
mod fuzz;
mod linker;
mod object;
mod toolchain;
mod touched;
mod verify;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Development tasks of rlvs")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the XDP objects into target/bpf, then the rlvs binary that carries them
    Build {
        /// Build the binary without optimisation; the XDP objects are always optimised
        #[arg(long)]
        debug_host: bool,
    },
    /// Check formatting, lints and all tests; as root also those that need root
    Test {
        /// Only tests whose name contains this
        filter: Option<String>,
    },
    /// Put the recorded cases to ipvsadm and compare the answers with the original's (root)
    Conformance {
        /// Ask the original anew, in the guest whose programs `vm` and `golden-run` are in this folder
        #[arg(long, value_name = "FOLDER")]
        original: Option<PathBuf>,
        /// Only these cases
        cases: Vec<String>,
    },
    /// Feed random frames to the switch, random messages to the control and sync protocols, random texts to what reads texts
    Fuzz {
        /// How long for each of them
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// Show which lines of the switch and of the control protocol that reached; texts are left out
        #[arg(long)]
        coverage: bool,
        /// Only this one: switch, control, sync or texts
        target: Option<String>,
    },
    /// Show NAT, direct routing and tunnelling with a director and two real servers, in network namespaces (root)
    Demo,
    /// Measure what clients notice when directors and real servers fail, in network namespaces (root)
    Failover {
        /// Only forwarding methods and intervals whose names contain this, such as "nat 100"
        filter: Option<String>,
        /// Let the kernel's IPVS and rlvs stand in for each other instead, in the guest that the program `vm` in this folder starts
        #[arg(long, value_name = "FOLDER", conflicts_with = "filter")]
        peer: Option<PathBuf>,
    },
    /// Measure the switch's cost per packet, established and new, beside a floor and the kernel's hash map (root)
    Bench {
        /// Only these parts: methods, flows, schedulers, services, cores, live, upkeep
        #[arg(value_name = "PART", conflicts_with_all = ["compare", "budget", "lab", "peers"])]
        parts: Vec<String>,
        /// How often each case is run after a first time that does not count
        #[arg(long, default_value_t = 3, conflicts_with_all = ["compare", "budget", "lab", "peers"])]
        runs: u32,
        /// Beside another commit, which is built in target/compare: both are measured in turns
        #[arg(long, value_name = "COMMIT")]
        compare: Option<String>,
        /// How often each is measured for a comparison; without it 3 times, or once if the other one can only measure everything
        #[arg(long)]
        rounds: Option<u32>,
        /// Count instructions instead, in the guest that the program `vm` in this folder starts, and write docs/budget.toml
        #[arg(long, value_name = "FOLDER", conflicts_with = "compare")]
        budget: Option<PathBuf>,
        /// Beside the kernel's IPVS, in the guest that the program `vm` in this folder starts, by the program `bench` beside it
        #[arg(long, value_name = "FOLDER", conflicts_with_all = ["compare", "budget"])]
        lab: Option<PathBuf>,
        /// Beside nftables' DNAT and HAProxy, on the same network under the same load
        #[arg(long, conflicts_with_all = ["compare", "budget", "lab"])]
        peers: bool,
    },
    /// Find out what packets touch, by look-ups and cache lines, and write docs/touched.toml
    Touched,
}

fn main() -> ExitCode {
    match run(&Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: &Task) -> Result<()> {
    let project = project()?;
    match task {
        Task::Build { debug_host } => build(&project, *debug_host),
        Task::Test { filter } => verify::test(&project, filter.as_deref()),
        Task::Conformance { original, cases } => {
            distribution::require(&project, &["iproute2"])?;
            build(&project, false)?;
            conformance::run(&project, original.as_deref(), cases)
        }
        Task::Fuzz { seconds, coverage: true, target } => {
            fuzz::coverage(&project, *seconds, target.as_deref())
        }
        Task::Fuzz { seconds, coverage: false, target } => fuzz::fuzz(&project, *seconds, target.as_deref()),
        Task::Bench { parts, runs, compare, rounds, budget, lab, peers } => {
            build(&project, false)?;
            match (budget, lab, compare) {
                (Some(lab), ..) => bench::budget(&project, lab),
                (_, Some(lab), _) => bench::beside_ipvs(&project, lab),
                (.., Some(reference)) => bench::compare(&project, reference, *rounds),
                _ if *peers => bench::peers(&project),
                (None, None, None) => bench::bench(&project, parts, *runs),
            }
        }
        Task::Touched => touched::write(&project),
        Task::Demo => {
            distribution::require(&project, &["iproute2", "ethtool"])?;
            let explanation = "the demonstration needs root; see its message above";
            scene(&project, "demo", None, explanation)
        }
        Task::Failover { peer: Some(lab), .. } => peer(&project, lab),
        Task::Failover { filter, peer: None } => {
            distribution::require(
                &project,
                &["iproute2", "ethtool", "curl", "wrk", "nginx-light", "dnsmasq-base"],
            )?;
            scene(&project, "failover", filter.as_deref(), "see above; it needs root")
        }
    }
}

/// Runs a program of the testbed on the release build of rlvs.
fn scene(project: &Path, program: &str, argument: Option<&str>, explanation: &str) -> Result<()> {
    build(project, false)?;
    let mut cargo = command::cargo(project);
    cargo.args(["run", "--quiet", "--release", "--package", "rlvs-testbed", "--bin", program, "--"]);
    cargo.args(argument);
    command::run(&mut cargo, explanation)
}

/// Lets the kernel's IPVS and rlvs stand in for each other in a guest.
fn peer(project: &Path, lab: &Path) -> Result<()> {
    build(project, false)?;
    let mut cargo = command::cargo(project);
    cargo.args(["build", "--release", "--package", "rlvs-testbed", "--bin", "failover"]);
    command::run(&mut cargo, "correct what the compiler says above")?;
    let mut guest = Command::new(lab.join("vm"));
    guest.args(["--kernel", "6.1", "--timeout", "1500", "--"]);
    guest.arg(project.join("target/release/failover")).arg("--peer");
    command::run(&mut guest, "see above; without IPVS in the guest's kernel there is no peer")
}

/// Builds the XDP objects, then the binary that embeds them.
fn build(project: &Path, debug_host: bool) -> Result<()> {
    object::build(project)?;
    let mut cargo = command::cargo(project);
    cargo.args(["build", "--package", "rlvs"]);
    if !debug_host {
        cargo.arg("--release");
    }
    command::run(&mut cargo, "correct what the compiler says above")
}

/// The project's root folder: two above this crate.
fn project() -> Result<PathBuf> {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = crate_folder.ancestors().nth(2).context("xtask is not in <project>/crates/xtask")?;
    Ok(root.to_path_buf())
}
