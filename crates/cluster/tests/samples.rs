//! The sample files that come with keepalived: read by both programs, and one of them at work on two machines.
#![allow(clippy::unwrap_used, reason = "helpers of tests; what does not hold here is a failed test")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rlvs_cluster::director::Place;
use rlvs_cluster::import::{Format, read, translate};
use rlvs_cluster::{Config, Order};
use rlvs_testbed::{Lan, Namespace, Port, Process, wait};
use rustix::process::Signal;
use tokio::sync::mpsc;

const LIMIT: Duration = Duration::from_secs(30);
const FOLDER: &str = "/usr/share/doc/keepalived/samples";
const FILE: &str = "/run/cluster.toml";

/// All samples; none where the distribution leaves documents out.
fn samples() -> Vec<PathBuf> {
    let Ok(folder) = std::fs::read_dir(FOLDER) else {
        println!("left out: there is no {FOLDER}");
        return Vec::new();
    };
    let mut all: Vec<_> = folder.map(|file| file.unwrap().path()).collect();
    all.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(".conf.")));
    all.sort();
    all
}

fn names(line: &str) -> Option<usize> {
    let (_, after) = line.split_once(": Line ")?;
    after.split(')').next()?.parse().ok()
}

/// Each is translated, and our own reader takes what comes out. Where keepalived finds a keyword unknown we do, too, and in files
/// that it takes we find nothing wrong.
#[test]
#[ignore = "needs root"]
fn every_sample_is_translated_and_what_is_wrong_is_wrong_for_both() -> Result<()> {
    let host = Namespace::new("samples")?;
    // keepalived minds interfaces that are not there.
    host.ip(
        "link set lo up\nlink add eth0 type veth peer name eth1\nlink add eth2 type veth peer name eth3",
    )?;
    for path in samples() {
        let name = path.display().to_string();
        let translation = translate(Format::Keepalived, &read(&path)?, &path, Some("main"))
            .with_context(|| format!("{name} is not translated"))?;
        let config = Config::parse(&translation.text, Path::new("translated"))?;
        ensure!(
            config != Config::default() || translation.text.lines().count() == 1,
            "{name}: nothing came out"
        );
        let wrong: Vec<_> = translation
            .problems
            .iter()
            .filter(|problem| {
                problem.help.as_deref().is_some_and(|help| help.starts_with("keepalived complains"))
            })
            .collect();
        let judged =
            host.output(&["sh", "-c", "keepalived --config-test --use-file $0 2>&1; echo status $?", &name])?;
        let unknown: Vec<_> =
            judged.lines().filter(|line| line.contains("Unknown keyword")).filter_map(names).collect();
        let ours: Vec<_> = wrong.iter().map(|problem| problem.place.line).collect();
        if judged.contains("status 0") {
            ensure!(wrong.is_empty(), "{name}: keepalived takes it, but {wrong:?}");
        }
        for line in unknown {
            ensure!(ours.contains(&line), "{name}: keepalived does not know what line {line} says: {judged}");
        }
    }
    Ok(())
}

/// Two machines on two segments, of which each may run the sample of two groups with nine virtual routers.
struct Pair {
    ours: Namespace,
    theirs: Namespace,
    lans: [Lan; 2],
}

/// A program that has the addresses when the other one has not.
enum Running {
    Ours(mpsc::Sender<Order>, std::thread::JoinHandle<Result<()>>),
    Theirs(Process),
}

impl Pair {
    fn new(file: &Path) -> Result<Self> {
        let lans = [Lan::new("eth0")?, Lan::new("eth1")?];
        let (ours, theirs) = (Namespace::new("ours")?, Namespace::new("theirs")?);
        for (host, number) in [(&ours, 1), (&theirs, 2)] {
            for (lan, (interface, net)) in lans.iter().zip([("eth0", 200), ("eth1", 201)]) {
                let address = format!("192.168.{net}.{number}/24");
                lan.plug(host, &Port { interface, addresses: &[&address] })?;
            }
        }
        let sample = read(file)?;
        theirs.write("/run/keepalived.conf", &sample)?;
        let translation = translate(Format::Keepalived, &sample, file, None)?;
        ensure!(translation.problems.is_empty(), "{:?}", translation.problems);
        ours.write(FILE, &translation.text)?;
        Ok(Self { ours, theirs, lans })
    }

    fn start_ours(&self) -> Result<Running> {
        let (orders, received) = mpsc::channel(1);
        // A new thread is where its parent is.
        let thread = self.ours.run(move || {
            Ok(std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                Ok(runtime.block_on(rlvs_cluster::run(Path::new(FILE), Place::Here, received))?)
            }))
        })?;
        Ok(Running::Ours(orders, thread))
    }

    fn start_theirs(&self) -> Result<Running> {
        let words = "keepalived --vrrp --dont-fork --log-console --use-file /run/keepalived.conf \
                     --pid /run/keepalived.pid --vrrp_pid /run/vrrp.pid";
        Ok(Running::Theirs(self.theirs.spawn(&words.split_whitespace().collect::<Vec<_>>())?))
    }

    /// Waits until one machine has all virtual addresses, and the other none.
    fn wait_for_all(&self, ours: bool) -> Result<()> {
        wait::until_ok(LIMIT, || {
            let (here, there) = (vips(&self.ours)?, vips(&self.theirs)?);
            let expected = if ours { (9, 0) } else { (0, 9) };
            ensure!((here, there) == expected, "{here} here and {there} there are not {expected:?}");
            Ok(())
        })
    }
}

impl Running {
    fn stop(self) -> Result<()> {
        match self {
            Self::Ours(orders, thread) => {
                orders.blocking_send(Order::Stop)?;
                wait::until(LIMIT, || Ok(thread.is_finished().then_some(())))?;
                thread.join().unwrap()
            }
            Self::Theirs(mut keepalived) => {
                keepalived.signal(Signal::TERM)?;
                keepalived.wait(LIMIT).map(drop)
            }
        }
    }
}

/// How many addresses a host has besides its own.
fn vips(host: &Namespace) -> Result<usize> {
    let all = host.output(&["ip", "-4", "-brief", "address", "show"])?;
    Ok(all.split_whitespace().filter(|word| word.starts_with("192.168.") && !word.ends_with("/24")).count())
}

/// keepalived's sample of synchronised groups, by keepalived on one machine and by us on the other.
#[test]
#[ignore = "needs root"]
fn a_sample_runs_on_two_machines_one_of_them_keepalived() -> Result<()> {
    let Some(file) = samples().into_iter().find(|path| path.ends_with("keepalived.conf.vrrp.sync")) else {
        return Ok(());
    };
    let pair = Pair::new(&file)?;
    let ours = pair.start_ours()?;
    pair.wait_for_all(true)?;
    let theirs = pair.start_theirs()?;
    ours.stop()?;
    pair.wait_for_all(false)?;
    let ours = pair.start_ours()?;
    theirs.stop()?;
    pair.wait_for_all(true)?;
    // Two of nine lose their segment, and take the others of both groups with them.
    let theirs = pair.start_theirs()?;
    wait::until_ok(LIMIT, || {
        let Running::Theirs(keepalived) = &theirs else { unreachable!("it is theirs") };
        let log = keepalived.stdout() + &keepalived.stderr();
        ensure!(log.matches("Entering BACKUP STATE").count() >= 9, "{log}");
        Ok(())
    })?;
    pair.lans[1].connect(1, false)?;
    pair.wait_for_all(false)?;
    pair.lans[1].connect(1, true)?;
    theirs.stop()?;
    pair.wait_for_all(true)?;
    ours.stop()
}
