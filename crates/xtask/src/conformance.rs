//! `cargo xtask conformance`: ipvsadm's command line beside the original's answers.

use std::path::Path;

use anyhow::Result;

use crate::command;

/// Runs the cases, or some of them, on the release build of rlvs, which must be there.
///
/// # Errors
///
/// When an answer differs from the original's and nobody declared that, or the cases cannot be run.
pub fn run(project: &Path, original: Option<&Path>, cases: &[String]) -> Result<()> {
    let mut cargo = command::cargo(project);
    cargo.args(["run", "--quiet", "--release", "--package", "rlvs-testbed", "--bin", "conformance", "--"]);
    cargo.arg("crates/testbed/conformance");
    if let Some(original) = original {
        // The program runs in the project's folder.
        cargo.arg("--original").arg(std::path::absolute(original)?);
    }
    cargo.args(cases);
    command::run(
        &mut cargo,
        "see above; crates/testbed/conformance/deviations.toml says what may differ, and why",
    )
}
