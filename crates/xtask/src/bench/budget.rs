//! `cargo xtask bench --budget`: what each path takes in instructions, kept in a file so that a review sees it change.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::command;

/// The file in the project.
const FILE: &str = "docs/budget.toml";
/// The guest's kernel.
const KERNEL: &str = "6.12";

/// What the file begins with.
const HEAD: &str = "\
# What a packet's way through the switch takes: written by `cargo xtask bench --budget`, not by hand.
#
# instructions: of the machine for a frame, helpers and tail calls included, less the harness; counted by QEMU's
# `-icount shift=0`. A few more or less from run to run: the hash key is random. Caches do not count: see docs/goals.md.
# verified: instructions that the kernel's verifier goes through, per program (it allows 1,000,000).

";

/// Runs the measurement in the guest that the program `vm` in the folder `lab` starts (`vm --kernel K --cpus N --mem M --qemu ARGUMENTS --
/// COMMAND`, in which the machine's own files are seen), and writes [`FILE`].
///
/// # Errors
///
/// When the guest or the measurement fails.
pub fn budget(project: &Path, lab: &Path) -> Result<()> {
    super::build(project)?;
    let mut guest = Command::new(lab.join("vm"));
    guest
        .args(["--kernel", KERNEL, "--cpus", "1", "--mem", "3G", "--qemu", "-icount shift=0,sleep=off", "--"])
        .arg(project.join("target/release/bench"))
        .arg("budget")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    eprintln!("xtask: {}", command::shown(&guest));
    let output = guest.output().with_context(|| format!("cannot start {}", lab.join("vm").display()))?;
    ensure!(output.status.success(), "the guest's measurement failed ({}): see above", output.status);
    let measured = String::from_utf8(output.stdout).context("the guest's answer is no text")?;
    ensure!(measured.starts_with("[instructions]"), "the guest answered something else: {measured}");
    fs::write(project.join(FILE), format!("{HEAD}# Linux {KERNEL}\n\n{measured}"))
        .with_context(|| format!("cannot write {FILE}"))?;
    println!("{measured}");
    println!("Written to {FILE}; `git diff {FILE}` shows what has changed.");
    Ok(())
}
