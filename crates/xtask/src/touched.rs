//! What a packet's way touches, kept in a file so that a review sees it change: `cargo xtask touched` writes it, and `cargo xtask test` sees
//! that it is true.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};

use crate::command;

/// The file in the project.
const FILE: &str = "docs/touched.toml";

/// What the file begins with.
const HEAD: &str = "\
# What a packet's way through the switch touches, of TCP and with a round robin scheduler: written by `cargo xtask touched`, not by hand.
#
# look_ups: in maps, each a call of a helper or what the kernel's compiler makes of it. Tail calls are not counted.
# lines: cache lines by map, of what is not the same for all packets; the frame's own, and those of the kernel's hash map of services'
# identities, which a new connection is looked up in, are not counted. Where nothing is in the way: the home slots are free.

";

/// Writes the file.
///
/// # Errors
///
/// When the program that finds out cannot be built, or fails.
pub fn write(project: &Path) -> Result<()> {
    let text = found(project)?;
    fs::write(project.join(FILE), &text).with_context(|| format!("cannot write {FILE}"))?;
    println!("{text}");
    println!("Written to {FILE}; `git diff {FILE}` shows what has changed.");
    Ok(())
}

/// Sees that the file is true.
///
/// # Errors
///
/// When it is not, or that cannot be found out.
pub fn check(project: &Path) -> Result<()> {
    let said = fs::read_to_string(project.join(FILE)).with_context(|| format!("cannot read {FILE}"))?;
    if said != found(project)? {
        bail!(
            "{FILE} does not say any more what packets touch: run `cargo xtask touched`, and see in `git diff {FILE}` whether you meant that"
        );
    }
    Ok(())
}

/// The file as it should be.
fn found(project: &Path) -> Result<String> {
    let mut cargo = command::cargo(project);
    cargo
        .args(["run", "--quiet", "--package", "rlvs-touched", "--target-dir", "target/counted"])
        .env("RUSTFLAGS", "--cfg counted")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stderr(Stdio::inherit());
    let shown = command::shown(&cargo);
    eprintln!("xtask: {shown}");
    let output = cargo.output().with_context(|| format!("cannot start `{shown}`"))?;
    ensure!(output.status.success(), "`{shown}` failed ({}): see above", output.status);
    let text = String::from_utf8(output.stdout).with_context(|| format!("`{shown}` printed no text"))?;
    Ok(format!("{HEAD}{text}"))
}
