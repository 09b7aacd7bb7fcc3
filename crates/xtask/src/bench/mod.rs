//! `cargo xtask bench`: what the switch costs per packet, on this machine.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::command;

/// Runs the measurement, built without debugging aids; the objects and `rlvs` are built already.
///
/// # Errors
///
/// When this is not root, or a frame does not leave as it should. Never because of a timing.
pub fn bench(project: &Path) -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "loading XDP programs needs root: run `cargo xtask bench` as root"
    );
    let mut bench = command::cargo(project);
    bench.args(["run", "--quiet", "--release", "--package", "rlvs-bench", "--bin", "bench"]);
    command::run(&mut bench, "see its message above")?;
    println!("The same figures for programs: target/bench.json");
    Ok(())
}
