//! `cargo xtask fuzz`: random input for a time, on any stable compiler. What and how: `fuzz/src`.

use std::path::Path;

use anyhow::Result;

use crate::command;

/// What `fuzz/src/main.rs` can fuzz.
const TARGETS: [&str; 2] = ["switch", "control"];

/// Builds the fuzzer and runs each target for so many seconds.
///
/// # Errors
///
/// When it does not build, or when it finds something.
pub fn fuzz(project: &Path, seconds: u32) -> Result<()> {
    for target in TARGETS {
        let mut fuzzer = command::cargo(project);
        fuzzer
            .args(["run", "--quiet", "--release", "--manifest-path", "fuzz/Cargo.toml", "--", target])
            .arg(seconds.to_string());
        command::run(&mut fuzzer, "make the round that it names above a test, then correct the code")?;
    }
    Ok(())
}
