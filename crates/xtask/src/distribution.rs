//! Packages of the distribution: which are missing, and how to get them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::command;

/// A line of `.ci/packages`: a package, a program that it brings, and why we need it.
#[derive(Debug, PartialEq)]
struct Entry<'a> {
    package: &'a str,
    program: &'a str,
    reason: &'a str,
}

/// Installs those of `packages` (all of `.ci/packages` when empty) whose program is not there.
///
/// # Errors
///
/// When one is missing and cannot be installed here: the message has the command to type.
pub fn require(project: &Path, packages: &[&str]) -> Result<()> {
    let file = project.join(".ci/packages");
    let list = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let entries = parse(&list).with_context(|| file.display().to_string())?;
    let mut missing = Vec::new();
    for entry in entries.iter().filter(|entry| packages.is_empty() || packages.contains(&entry.package)) {
        if command::on_path(entry.program).is_none() {
            eprintln!("xtask: {} is missing: {}", entry.program, entry.reason);
            missing.push(entry.package);
        }
    }
    install(&missing)
}

/// Those of `packages` that dpkg does not have installed; all of them where there is no dpkg.
pub fn missing<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    let installed = |package: &&str| {
        let mut query = Command::new("dpkg-query");
        query.args(["--show", "--showformat=${db:Status-Status}", package]);
        command::output(&mut query).is_some_and(|status| status == "installed")
    };
    packages.iter().copied().filter(|package| !installed(package)).collect()
}

/// Installs `packages` with apt, as root.
///
/// # Errors
///
/// When this is not root, or there is no apt, or apt fails: the message has the command to type.
pub fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    ensure!(
        command::on_path("apt-get").is_some(),
        "this is neither Debian nor Ubuntu: install with its package manager what they call {list}"
    );
    if !rustix::process::geteuid().is_root() {
        bail!("type this, then try again: sudo apt-get install -y --no-install-recommends {list}");
    }
    let apt = |words: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").args(words);
        apt
    };
    let mut get = apt(&["install", "-y", "--no-install-recommends"]);
    get.args(packages);
    // A machine's package lists may be old or absent: refresh them only when the first try fails.
    if command::run(&mut get, "refreshing the package lists").is_err() {
        command::run(&mut apt(&["update"]), "check /etc/apt/sources.list and the network")?;
        command::run(
            &mut get,
            "see apt's message above; on another release these packages may have other names",
        )?;
    }
    Ok(())
}

fn parse(list: &str) -> Result<Vec<Entry<'_>>> {
    let mut entries = Vec::new();
    for (number, line) in list.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let (words, reason) = line.split_once('#').unwrap_or((line, ""));
        let words: Vec<_> = words.split_whitespace().collect();
        let &[package, program] = words.as_slice() else {
            bail!("line {}: write `package program # reason`", number + 1);
        };
        entries.push(Entry { package, program, reason: reason.trim() });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_package_program_reason() {
        let list = "# head\n\nnginx-light nginx # real servers\nwrk wrk\n";
        let entry = |package, program, reason| Entry { package, program, reason };
        assert_eq!(
            parse(list).unwrap(),
            [entry("nginx-light", "nginx", "real servers"), entry("wrk", "wrk", "")]
        );
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = parse("wrk wrk\ncurl # load\n").unwrap_err().to_string();
        assert!(error.starts_with("line 2"), "{error}");
    }
}
