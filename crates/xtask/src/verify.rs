//! `cargo xtask test`: what must hold before a change goes in.
//!
//! Tests that need root say so with `#[ignore = "needs root"]`, or a whole file of them is behind the feature
//! `privileged-tests`. A plain `cargo test` leaves them out, and this task runs them when it is root: those behind the
//! feature with the rest, the ignored ones after that and one at a time, because they load the machine.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{command, conformance, distribution, fuzz, object, touched};

/// How long each fuzzing target gets: enough to see that it runs and that nothing is badly wrong. `cargo xtask fuzz` takes longer.
const FUZZ_SECONDS: u32 = 10;

/// Tests that passed, failed, and were left out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Outcome {
    passed: u32,
    failed: u32,
    ignored: u32,
}

/// Formatting, lints, tests, a little fuzzing. As root also the tests that need root.
///
/// # Errors
///
/// When a check or a test fails, or something needed can be neither found nor installed.
pub fn test(project: &Path, filter: Option<&str>) -> Result<()> {
    let root = rustix::process::geteuid().is_root();
    if root {
        distribution::require(project, &[])?;
    }
    object::build(project)?;
    lint(project)?;

    let features: &[&str] = if root { &["--all-features"] } else { &[] };
    let mut outcome = tests(project, features, filter, &[])?;
    let left_out = outcome.ignored;
    if root {
        // The tests drive the binary that users get.
        let mut release = command::cargo(project);
        command::run(
            release.args(["build", "--release", "--package", "rlvs"]),
            "correct what the compiler says above",
        )?;
        // Not the examples in documentation: one that is ignored there is not meant to run.
        let programs = ["--all-features", "--lib", "--bins", "--tests"];
        let privileged = tests(project, &programs, filter, &["--ignored", "--test-threads=1"])?;
        outcome.passed += privileged.passed;
        outcome.failed += privileged.failed;
    } else if left_out > 0 {
        println!("{left_out} tests that need root were left out: run `cargo xtask test` as root for them");
    }
    if filter.is_none() {
        if root {
            conformance::run(project, None, &[])?;
        }
        touched::check(project)?;
        fuzz::fuzz(project, FUZZ_SECONDS, None)?;
    }
    println!("{} passed, {} failed", outcome.passed, outcome.failed);
    if outcome.failed > 0 {
        bail!("tests failed: `cargo xtask test NAME` runs those whose name contains NAME");
    }
    if outcome.passed == 0 {
        bail!("no test ran: is there one whose name contains {:?}?", filter.unwrap_or_default());
    }
    Ok(())
}

fn lint(project: &Path) -> Result<()> {
    let cargo = |words: &[&str]| {
        let mut cargo = command::cargo(project);
        cargo.args(words);
        cargo
    };
    let format = "type `cargo fmt`, and for crates/xdp `cargo fmt --manifest-path crates/xdp/Cargo.toml`";
    command::run(&mut cargo(&["fmt", "--all", "--check"]), format)?;
    command::run(&mut cargo(&["fmt", "--check", "--manifest-path", "crates/xdp/Cargo.toml"]), format)?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "--deny", "warnings"];
    command::run(&mut cargo(&clippy), "correct what it says above")?;
    if command::on_path("cargo-deny").is_some() {
        let deny = ["deny", "--offline", "check", "bans", "licenses", "sources"];
        command::run(&mut cargo(&deny), "deny.toml says what a dependency may bring")?;
    }
    Ok(())
}

/// Runs `cargo test` with `options` of its own and `test_options` for the test programs, shows its output, and counts.
fn tests(project: &Path, options: &[&str], filter: Option<&str>, test_options: &[&str]) -> Result<Outcome> {
    let mut cargo = command::cargo(project);
    cargo
        .args(["test", "--workspace", "--no-fail-fast"])
        .args(options)
        .arg("--")
        .args(filter)
        .args(test_options);
    count(&mut cargo)
}

fn count(command: &mut Command) -> Result<Outcome> {
    let shown = command::shown(command);
    eprintln!("xtask: {shown}");
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start `{shown}`"))?;
    let output = child.stdout.take().context("no output to read")?;
    let mut outcome = Outcome::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.with_context(|| format!("cannot read the output of `{shown}`"))?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        if let Some(more) = result_line(&line) {
            outcome.passed += more.passed;
            outcome.failed += more.failed;
            outcome.ignored += more.ignored;
        }
    }
    let status = child.wait().with_context(|| format!("cannot wait for `{shown}`"))?;
    if !status.success() && outcome.failed == 0 {
        bail!("`{shown}` failed ({status}) without a failed test: see its messages above");
    }
    Ok(outcome)
}

/// Reads libtest's closing line, "test result: ok. 3 passed; 0 failed; 1 ignored; ...".
fn result_line(line: &str) -> Option<Outcome> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |what: &str| counts.split("; ").find_map(|part| part.strip_suffix(what)?.trim().parse().ok());
    Some(Outcome { passed: count("passed")?, failed: count("failed")?, ignored: count("ignored")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_of_libtest_is_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s";
        assert_eq!(result_line(line), Some(Outcome { passed: 12, failed: 3, ignored: 1 }));
        assert_eq!(result_line("test a::b ... ok"), None);
    }

    #[test]
    fn a_failed_run_without_a_failed_test_is_an_error() {
        assert!(count(Command::new("sh").args(["-c", "echo building; exit 101"])).is_err());
        let script = "echo 'test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured'; exit 101";
        let outcome = count(Command::new("sh").args(["-c", script])).unwrap();
        assert_eq!(outcome, Outcome { passed: 1, failed: 2, ignored: 0 });
    }
}
