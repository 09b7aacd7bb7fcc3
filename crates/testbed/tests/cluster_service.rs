//! `rlvs cluster` as a service of a machine: what it tells, and whom.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rlvs_testbed::{Namespace, Process, binary, wait};

const FILE: &str = "/run/cluster.toml";
const LIMIT: Duration = Duration::from_secs(30);
/// The owner of an address that nobody else wants: no director is needed.
const OWNER: &str =
    "[[vrrp]]\nname = \"alone\"\nid = 1\ninterface = \"lo\"\naddresses = \"192.0.2.1\"\npriority = 255\n";

/// A host without a network, and what its journal has got.
struct Scene {
    journal: UnixDatagram,
    host: Namespace,
}

impl Scene {
    fn new() -> Result<Self> {
        let host = Namespace::new("alone")?;
        host.ip("link set lo up")?;
        host.output(&["mkdir", "-p", "/run/systemd/journal"])?;
        // The host's own /run, as its threads see it.
        let journal = host.run(|| Ok(UnixDatagram::bind("/run/systemd/journal/socket")?))?;
        journal.set_read_timeout(Some(LIMIT))?;
        Ok(Self { journal, host })
    }

    /// Starts a cluster as systemd does a service.
    fn start(&self, file: &str) -> Result<Process> {
        self.host.write(FILE, file)?;
        let script =
            format!("JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec {} cluster {FILE}", binary()?);
        self.host.spawn(&["sh", "-c", &script])
    }

    /// Waits for an entry of the journal with these fields.
    fn wait_for_entry(&self, fields: &[(&str, &str)]) -> Result<()> {
        let mut others = String::new();
        loop {
            let mut entry = [0; 4096];
            let length =
                self.journal.recv(&mut entry).with_context(|| format!("no {fields:?} in {others}"))?;
            let entry = &entry[..length];
            let has = |(name, value): &(&str, &str)| {
                // A field is NAME=value or, for any value, NAME, a line feed, the value's length and the value.
                let length = (value.len() as u64).to_le_bytes();
                let framed = [name.as_bytes(), b"\n", &length, value.as_bytes(), b"\n"].concat();
                let plain = format!("{name}={value}\n").into_bytes();
                [framed, plain].iter().any(|field| entry.windows(field.len()).any(|part| part == field))
            };
            if fields.iter().all(has) {
                return Ok(());
            }
            others.push_str(&String::from_utf8_lossy(entry));
        }
    }

    /// What `rlvs status` prints and its exit status.
    fn status(&self, options: &str) -> Result<(String, i32)> {
        let output =
            self.host.spawn(&["sh", "-c", &format!("{} status {options}", binary()?)])?.finish(LIMIT)?;
        Ok((output.stdout + &output.stderr, output.status.code().unwrap_or(-1)))
    }
}

#[test]
#[ignore = "needs root"]
fn the_journal_gets_fields_and_monitoring_exit_statuses() -> Result<()> {
    let scene = Scene::new()?;
    let (said, code) = scene.status("")?;
    ensure!(code == 3 && said.contains("no cluster runs in this network namespace"), "{code}: {said}");
    let mut cluster = scene.start(OWNER)?;
    scene.wait_for_entry(&[
        ("PRIORITY", "5"),
        ("RLVS_EVENT", "instance"),
        ("RLVS_INSTANCE", "alone"),
        ("RLVS_STATE", "MASTER"),
        ("RLVS_REASON", "it begins"),
        ("MESSAGE", "(alone) Entering MASTER STATE: it begins"),
    ])?;
    wait::until_ok(LIMIT, || {
        let (said, code) = scene.status("")?;
        ensure!(code == 0 && said.contains("VRRP alone: MASTER since"), "{code}: {said}");
        Ok(())
    })?;
    let (json, code) = scene.status("--json")?;
    ensure!(code == 0 && json.contains("\"state\": \"MASTER\""), "{code}: {json}");

    let mut follower = scene.host.spawn(&[&binary()?, "status", "--follow", "--json"])?;
    // Its first event cannot be missed: it comes again and again until it is heard.
    wait::until(LIMIT, || {
        cluster.signal(rustix::process::Signal::HUP)?;
        Ok(follower.stdout().contains("\"event\":\"reload\"").then_some(()))
    })?;
    scene.host.ip("link set lo down")?;
    follower.wait_for("\"state\":\"FAULT\"", LIMIT)?;
    scene.wait_for_entry(&[("PRIORITY", "4"), ("RLVS_STATE", "FAULT"), ("RLVS_REASON", "lo is down")])?;
    let (said, code) = scene.status("")?;
    ensure!(
        code == 2 && said.contains("VRRP alone: FAULT since") && said.contains("lo is down"),
        "{code}: {said}"
    );

    cluster.signal(rustix::process::Signal::TERM)?;
    ensure!(cluster.wait(LIMIT)?.success(), "{}", cluster.stderr());
    ensure!(follower.wait(LIMIT)?.code() == Some(3), "{}", follower.stderr());
    ensure!(follower.stdout().contains("\"state\":\"STOP\""), "{}", follower.stdout());
    ensure!(cluster.stderr().is_empty(), "standard error is not the journal: {}", cluster.stderr());
    Ok(())
}
