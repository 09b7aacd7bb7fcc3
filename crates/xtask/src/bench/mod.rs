//! `cargo xtask bench`: what the switch costs per packet, on this machine; with `--compare`, beside another commit.

mod budget;
mod comparison;
mod guest;
mod live;
mod other;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
pub use budget::budget;
use comparison::{Comparison, Side};
pub use guest::beside_ipvs;
use other::Other;

use crate::command;

/// Runs these parts of the measurement, or all if none is named, built without debugging aids; the objects and `rlvs` are built
/// already.
///
/// # Errors
///
/// When this is not root, or a frame does not leave as it should. Never because of a timing.
pub fn bench(project: &Path, parts: &[String], runs: u32) -> Result<()> {
    root()?;
    let mut bench = command::cargo(project);
    bench.args(["run", "--quiet", "--release", "--package", "rlvs-bench", "--bin", "bench", "--"]);
    bench.args(["--runs", &runs.to_string()]).args(parts);
    command::run(&mut bench, "see its message above")?;
    println!("The same figures for programs: target/bench.json");
    Ok(())
}

/// Measures what a user would pick instead beside `rlvs`, on this machine.
///
/// # Errors
///
/// When this is not root, a program is missing, or a request fails. Never because of a timing.
pub fn peers(project: &Path) -> Result<()> {
    root()?;
    build(project)?;
    let mut bench = std::process::Command::new(project.join("target/release/bench"));
    command::run(bench.current_dir(project).arg("peers"), "see its message above")?;
    println!("The same figures for programs: target/bench-peers.json");
    Ok(())
}

/// Runs this tree's measurement and that of the commit `reference` in turns, so many rounds, and prints both. Each runs on
/// the programs, the maps and the director of its own commit, and measures the forwarding methods only, once in a round, if it can.
///
/// # Errors
///
/// As [`bench`], but after all rounds, and when there is no such commit, or it cannot be built.
pub fn compare(project: &Path, reference: &str, rounds: Option<u32>) -> Result<()> {
    root()?;
    let other = Other::build(project, reference)?;
    build(project)?;
    let rounds = rounds.unwrap_or(if has_parts(&other.folder) { 3 } else { 1 }).max(1);
    let minutes = |folder| if has_parts(folder) { PART_MINUTES } else { WHOLE_MINUTES };
    let all = f64::from(rounds) * (minutes(&other.folder) + minutes(project));
    eprintln!("xtask: {rounds} rounds; about {} minutes on a machine with nothing else to do", all.ceil());
    let mut comparison = Comparison::new(&other.commit, &other::this_tree(project));
    let mut failed = 0;
    for round in 0..rounds {
        eprintln!("xtask: round {} of {rounds}", round + 1);
        let mut turns = [(Side::Before, other.folder.as_path()), (Side::After, project)];
        // Whatever the machine does to the second one of a round, it does to both in turn.
        turns.rotate_left(round as usize % 2);
        for (side, folder) in turns {
            let added = measure(folder).and_then(|figures| {
                comparison.add(side, &figures).with_context(|| {
                    format!("{} is not of a form that is known here", folder.join(RESULT).display())
                })
            });
            if let Err(error) = added {
                // What the other rounds have found is worth to be shown.
                eprintln!("xtask: left out: {error:#}");
                failed += 1;
            }
        }
    }
    println!("{}", comparison.markdown());
    let path = project.join("target/bench-compare.json");
    fs::write(&path, format!("{:#}\n", comparison.json()))
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("The same figures for programs: target/bench-compare.json");
    ensure!(failed == 0, "{failed} measurements failed, as told above, and are left out of the tables");
    Ok(())
}

/// What a round measures of a commit that has parts.
const ROUND: [&str; 3] = ["--runs", "1", "methods"];
/// How long that takes, and the whole measurement of a commit without parts.
const PART_MINUTES: f64 = 1.0;
const WHOLE_MINUTES: f64 = 3.5;

/// Whether a project's measurement can be told what to measure.
fn has_parts(project: &Path) -> bool {
    project.join("crates/bench/src/parts").is_dir()
}

/// Where a measurement leaves its figures, in the project that it was built in.
const RESULT: &str = "target/bench.json";

/// Builds a project's measurement; its objects and its `rlvs` are built already.
fn build(project: &Path) -> Result<()> {
    let mut cargo = command::cargo(project);
    cargo.args(["build", "--quiet", "--release", "--package", "rlvs-bench", "--bin", "bench"]);
    command::run(&mut cargo, "correct what the compiler says above")
}

/// Runs a project's measurement: the figures that it leaves.
fn measure(project: &Path) -> Result<serde_json::Value> {
    let mut bench = std::process::Command::new(project.join("target/release/bench"));
    bench.current_dir(project).stdout(Stdio::null());
    if has_parts(project) {
        bench.args(ROUND);
    }
    command::run(&mut bench, "see its message above")?;
    let path = project.join(RESULT);
    let figures = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&figures).with_context(|| format!("{} is no JSON", path.display()))
}

fn root() -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "loading XDP programs needs root: run `cargo xtask bench` as root"
    );
    Ok(())
}
