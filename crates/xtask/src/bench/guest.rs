//! `cargo xtask bench --lab`: the kernel's IPVS and rlvs on the same path, in turns in one boot of a guest that counts instructions.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::live;

/// Before the measurements of XDP frames.
const LIVE: &str = "live";
/// The guest's kernel.
const KERNEL: &str = "6.12";
/// Who is measured, in this order: the name in the figures.
const DIRECTORS: [&str; 2] = ["IPVS", "rlvs"];
/// Of the lab's program: the generator alone, whose frames are dropped where they enter, and the three forwarding methods.
const PARTS: &str = "drop nat dr tun";
/// What is left out of both directors' figures: generator and drop, where IPVS has no service.
const ALONE: (&str, &str) = (DIRECTORS[0], "drop-udp");
/// The lab's paths, and the switch's own instructions for them in docs/budget.toml.
const BUDGET: [(&str, &str); 3] =
    [("nat", "NAT, established"), ("dr", "DR, established"), ("tun", "TUN, established")];

/// Measures both directors in the guest that the lab's program `vm` starts, as [`super::budget`] does, and prints what each takes for a
/// forwarded packet, less what generator and drop take: first of XDP frames (`bench beside`), then of the frames of the lab's program
/// `bench`, which come from a socket. A veth copies each of the latter for native XDP, which no network card does; the switch's budget
/// stands beside them.
///
/// # Errors
///
/// When the guest or a measurement fails. Never because of a figure.
pub fn beside_ipvs(project: &Path, lab: &Path) -> Result<()> {
    super::build(project)?;
    let lab = lab.canonicalize().with_context(|| format!("cannot find {}", lab.display()))?;
    let mut guest = Command::new(lab.join("vm"));
    guest
        .args(["--kernel", KERNEL, "--cpus", "1", "--mem", "3G", "--timeout", "3000"])
        .args(["--qemu", "-icount shift=0,sleep=off", "--", &script(project, &lab)])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    eprintln!("xtask: in the guest; this takes about ten minutes on a machine with nothing else to do");
    let output = guest.output().with_context(|| format!("cannot start {}", lab.join("vm").display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "the guest's measurement failed ({}): see above; {text}", output.status);
    let (live, socket): (Vec<Value>, Vec<Value>) =
        read(&text)?.into_iter().partition(|figures| figures["fed"] == LIVE);
    let live = live::rows(&live)?;
    println!("{}", live::markdown(&live));
    let budget = project.join("docs/budget.toml");
    let budget = fs::read_to_string(&budget).with_context(|| format!("cannot read {}", budget.display()))?;
    let rows = rows(&socket, &budget)?;
    println!("{}", markdown(&rows));
    let path = project.join("target/bench-lab.json");
    fs::write(
        &path,
        format!("{:#}\n", json!({ "kernel": KERNEL, "live": live, "rows": rows, "measured": socket })),
    )
    .with_context(|| format!("cannot write {}", path.display()))?;
    println!("The same figures for programs: target/bench-lab.json");
    Ok(())
}

/// What the guest does: each line that it prints is a measurement, with its director's name, or [`LIVE`], put before it.
fn script(project: &Path, lab: &Path) -> String {
    let (bench, rlvs) = (lab.join("bench"), project.join("target/release/rlvs"));
    let (bench, rlvs) = (bench.display(), rlvs.display());
    // A veth takes frames of native XDP only if its peer has XDP or receive offload: those at the ends get the latter.
    let offload =
        "ip netns exec rs1 ethtool -K r0 gro on; ip netns exec cl ethtool -K c0 gro on; exec 2>/tmp/rlvs.log";
    let ours = format!(
        "LVS_DIRECTOR='</dev/null; {offload}; exec {rlvs} run --interface d0 --interface d1' LVS_DIRECTOR_WAIT=60 \
         LVS_IPVSADM='{rlvs} ipvsadm'"
    );
    let turn = |name: &str, environment: &str| {
        format!("{environment} {bench} -r 1 -s 0.2 {PARTS} | sed -n 's/^{{/{name} {{/p' || exit 1\n")
    };
    let beside = project.join("target/release/bench");
    format!(
        "set -o pipefail\n{} beside | sed 's/^/{LIVE} /' || exit 1\n{}{}",
        beside.display(),
        turn(DIRECTORS[0], ""),
        turn(DIRECTORS[1], &ours)
    )
}

/// The measurements: a line is the director's name and a JSON object with `what`, `flows`, `sent`, `received`, `pps`; or it is [`LIVE`]
/// and an object for [`live::rows`].
fn read(text: &str) -> Result<Vec<Value>> {
    text.lines()
        .map(|line| {
            let (name, figures) = line.split_once(' ').with_context(|| format!("no measurement: {line}"))?;
            let mut figures: Value =
                serde_json::from_str(figures).with_context(|| format!("no measurement: {line}"))?;
            let key = if name == LIVE { "fed" } else { "director" };
            figures[key] = name.into();
            Ok(figures)
        })
        .collect()
}

/// A path: instructions of both directors for a frame, less the generator's and the drop's, and of the switch by its budget; frames a
/// second of the whole path, and what part of the frames arrived.
fn rows(measured: &[Value], budget: &str) -> Result<Vec<Value>> {
    let of = |director: &str, what: &str, flows: &Value| {
        let found = measured.iter().find(|figures| {
            figures["director"] == director && figures["what"] == what && figures["flows"] == *flows
        });
        let figures =
            found.with_context(|| format!("{director} has no measurement {what} of {flows} flows"))?;
        let [rate, sent, received] = ["pps", "sent", "received"].map(|name| figures[name].as_f64());
        let whole = [rate, sent, received].into_iter().collect::<Option<Vec<f64>>>();
        whole.with_context(|| format!("{figures} is not of a form that is known here"))
    };
    // The guest's clock takes each instruction for a nanosecond.
    let instructions = |figures: &[f64]| (1e9 / figures[0]).round();
    let alone = instructions(&of(ALONE.0, ALONE.1, &json!(1000))?);
    let paths =
        measured.iter().filter(|figures| figures["director"] == DIRECTORS[0] && figures["what"] != ALONE.1);
    paths
        .map(|path| {
            let what = path["what"].as_str().context("a measurement without its name")?;
            let [theirs, ours] = DIRECTORS.map(|director| of(director, what, &path["flows"]));
            let [theirs, ours] = [theirs?, ours?];
            let switch = budgeted(budget, what)?;
            let both = |figure: &dyn Fn(&[f64]) -> f64| [figure(&theirs), figure(&ours)];
            let net = both(&|figures| instructions(figures) - alone);
            Ok(json!({
                "path": what, "flows": path["flows"], "instructions": net, "switch": switch,
                "ratio": (100.0 * switch / net[0]).round() / 100.0,
                "frames_per_second": both(&|figures| figures[0]),
                "arrived": both(&|figures| (100.0 * figures[2] / figures[1]).round()),
            }))
        })
        .collect()
}

/// The switch's own instructions for one of the lab's paths.
fn budgeted(budget: &str, what: &str) -> Result<f64> {
    let method = what.split('-').next().unwrap_or_default();
    let (_, name) =
        BUDGET.iter().find(|(path, _)| *path == method).with_context(|| format!("no path {what}"))?;
    let line = budget.lines().find_map(|line| line.strip_prefix(&format!("\"{name}\" = ")));
    line.and_then(|number| number.parse().ok())
        .with_context(|| format!("docs/budget.toml does not say {name:?}"))
}

fn markdown(rows: &[Value]) -> String {
    let mut text = format!(
        "Linux {KERNEL} in QEMU, one CPU. Instructions for a forwarded frame, less what generator and drop take; \"the switch\": its \
         budget. Frames a second of the whole path, where an instruction takes a nanosecond.\n\n\
         | path | flows | IPVS | rlvs, and veth's copy for XDP | the switch | the switch / IPVS | IPVS, frames/s | rlvs, frames/s | \
         arrived, % |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
    );
    for row in rows {
        let [net, rates, arrived] = ["instructions", "frames_per_second", "arrived"].map(|name| &row[name]);
        text += &format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {}, {} |\n",
            row["path"].as_str().unwrap_or_default(),
            row["flows"],
            net[0],
            net[1],
            row["switch"],
            row["ratio"],
            rates[0],
            rates[1],
            arrived[0],
            arrived[1]
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
IPVS {\"what\":\"drop-udp\",\"flows\":1000,\"received\":0,\"sent\":100,\"pps\":200000}
IPVS {\"what\":\"nat-udp\",\"flows\":1000,\"received\":100,\"sent\":100,\"pps\":100000}
rlvs {\"what\":\"drop-udp\",\"flows\":1000,\"received\":0,\"sent\":100,\"pps\":100000}
rlvs {\"what\":\"nat-udp\",\"flows\":1000,\"received\":99,\"sent\":100,\"pps\":125000}
";
    const FILE: &str = "\"NAT, new connection\" = 3530\n\"NAT, established\" = 750\n";

    #[test]
    fn what_generator_and_drop_take_is_left_out() {
        let rows = rows(&read(TEXT).unwrap(), FILE).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0]["instructions"], json!([5000.0, 3000.0]));
        assert_eq!((&rows[0]["switch"], &rows[0]["ratio"]), (&json!(750.0), &json!(0.15)));
        let text = markdown(&rows);
        assert!(
            text.contains(
                "| nat-udp | 1000 | 5000.0 | 3000.0 | 750.0 | 0.15 | 100000.0 | 125000.0 | 100.0, 99.0 |"
            ),
            "{text}"
        );
    }

    #[test]
    fn what_is_missing_is_an_error() {
        assert!(rows(&read(&TEXT.replace("rlvs", "other")).unwrap(), FILE).is_err());
        assert!(rows(&read(TEXT).unwrap(), "").is_err());
        assert!(read("no measurement\n").is_err());
    }
}
