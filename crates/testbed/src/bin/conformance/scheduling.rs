//! Scheduler scenarios, live: connection by connection, which server the original takes and which rlvs does.
//!
//! The lab's `sched-run` builds a network, plays sequences of connections and changes, and writes down what it saw:
//! in the guest with the kernel's IPVS, and here with rlvs. `sched-run list` says which scenarios there are,
//! `sched-run record FOLDER NAME...` writes `FOLDER/NAME.jsonl`: the scenario, then a line a step.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rlvs_testbed::binary;
use serde_json::Value;

/// Its network has namespaces with names, which are to be nobody else's; its processes end with it.
const ALONE: &str = "mount -t tmpfs none /run && mkdir /run/netns && exec \"$@\"";

/// Plays the lab's scenarios of these names (none: all) to both; whether they came out equal.
pub fn compare(lab: &Path, names: &[String]) -> Result<bool> {
    let lab = lab.canonicalize().with_context(|| format!("no folder {}", lab.display()))?;
    let tool = lab.join("sched-run");
    let known = output(Command::new(&tool).arg("list"))?;
    let wanted = |name: &&str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    let scenarios: Vec<&str> = known.lines().filter(wanted).collect();
    if scenarios.is_empty() {
        return Ok(true);
    }
    let work = std::env::temp_dir().join(format!("rlvs-scheduling-{}", std::process::id()));
    fs::create_dir(&work).with_context(|| format!("cannot make {}", work.display()))?;
    let equal = play(&lab, &tool, &work, &scenarios)
        .and_then(|()| scenarios.iter().try_fold(true, |equal, name| Ok(report(&work, name)? && equal)));
    // What cannot be removed is a folder in the place for such folders.
    let _ = fs::remove_dir_all(&work);
    equal
}

/// Has both recorded, the original in `work/original`, rlvs in `work/ours`.
fn play(lab: &Path, tool: &Path, work: &Path, scenarios: &[&str]) -> Result<()> {
    let mut original = Command::new(lab.join("vm"));
    original.args(["--kernel", "uml", "--timeout", "3600", "--rw"]).arg(work).arg("--");
    original.arg(tool).arg("record").arg(work.join("original")).args(scenarios);
    output(&mut original)?;

    let rlvs = fs::canonicalize(binary()?)?;
    let rlvs = rlvs.to_str().context("the path of rlvs is no text")?;
    let mut ours = Command::new("unshare");
    ours.args(["--mount", "--pid", "--fork", "--mount-proc", "--propagation", "private"]);
    ours.args(["sh", "-c", ALONE, "sh"]).arg(tool).arg("record").arg(work.join("ours")).args(scenarios);
    let mark = "-p tcp -d {net} --destination-port {port} --mark {mark}";
    ours.env("LVS_IPVSADM", rlvs)
        .env("LVS_DIRECTOR", format!("{rlvs} run"))
        .env("LVS_MARK", format!("{rlvs} mark add {mark}"));
    output(&mut ours).map(drop)
}

/// Shows how a scenario came out; whether it is equal, or by chance on both sides.
fn report(work: &Path, name: &str) -> Result<bool> {
    let read = |whose: &str| fs::read_to_string(work.join(whose).join(format!("{name}.jsonl")));
    let title = format!("scheduling {name}");
    let Ok(original) = read("original") else {
        println!("{title:<40} the original has no such scheduler");
        return Ok(true);
    };
    let ours = read("ours").with_context(|| format!("rlvs refuses the scenario {name}"))?;
    let scenario: Value = serde_json::from_str(original.lines().next().unwrap_or_default())?;
    let steps = original.lines().count().saturating_sub(1);
    if scenario["exact"] == false {
        println!(
            "{title:<40} {steps:>3} steps     by chance: {}; ours {}",
            shares(&original)?,
            shares(&ours)?
        );
        return Ok(true);
    }
    if original == ours {
        println!("{title:<40} {steps:>3} steps     equal");
        return Ok(true);
    }
    println!("{title:<40} {steps:>3} steps     DIFFERENT");
    if let Some((theirs, own)) = original.lines().zip(ours.lines()).find(|(theirs, own)| theirs != own) {
        println!("    expected: {theirs}\n    answered: {own}");
    }
    Ok(false)
}

/// How many connections each server got.
fn shares(recording: &str) -> Result<String> {
    let mut counts = std::collections::BTreeMap::<String, u32>::new();
    for line in recording.lines().skip(1) {
        let step: Value = serde_json::from_str(line)?;
        if let Some(server) = step.get("got") {
            *counts.entry(server.to_string()).or_default() += 1;
        }
    }
    Ok(counts.iter().map(|(server, count)| format!("{server}: {count}")).collect::<Vec<_>>().join(", "))
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ends with {}:\n{errors}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
