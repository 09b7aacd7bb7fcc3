//! Director and cluster as services of a machine, by the units of `dist/systemd`: what they tell, and what they may.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rlvs_testbed::{Namespace, Process, binary, rlvs, wait};
use rustix::process::Signal;

const FILE: &str = "/run/cluster.toml";
const LIMIT: Duration = Duration::from_secs(30);
/// A director loads its programs first.
const START: Duration = Duration::from_secs(240);
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
        cluster.signal(Signal::HUP)?;
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

    cluster.signal(Signal::TERM)?;
    ensure!(cluster.wait(LIMIT)?.success(), "{}", cluster.stderr());
    ensure!(follower.wait(LIMIT)?.code() == Some(3), "{}", follower.stderr());
    ensure!(follower.stdout().contains("\"state\":\"STOP\""), "{}", follower.stdout());
    ensure!(cluster.stderr().is_empty(), "standard error is not the journal: {}", cluster.stderr());
    Ok(())
}

/// The words that run a program with the capabilities of its unit, and no others.
fn restricted(unit: &str) -> Result<String> {
    let path = format!("{}/../../dist/systemd/{unit}", env!("CARGO_MANIFEST_DIR"));
    let unit = std::fs::read_to_string(&path).context(path)?;
    let line = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let names = line.context("no CapabilityBoundingSet")?.split_whitespace();
    let names: Vec<_> = names.map(|name| name.trim_start_matches("CAP_").to_lowercase()).collect();
    Ok(format!("setpriv --no-new-privs --inh-caps=-all --bounding-set=-all,+{}", names.join(",+")))
}

/// A host whose service manager listens.
struct Managed {
    manager: UnixDatagram,
    host: Namespace,
}

impl Managed {
    fn new() -> Result<Self> {
        let host = Namespace::new("managed")?;
        host.ip("link set lo up")?;
        let manager = host.run(|| Ok(UnixDatagram::bind("/run/notify")?))?;
        Ok(Self { manager, host })
    }

    /// Starts a command as its unit says.
    fn start(&self, unit: &str, command: &str) -> Result<Process> {
        let (restricted, binary) = (restricted(unit)?, binary()?);
        let script =
            format!("NOTIFY_SOCKET=/run/notify WATCHDOG_USEC=400000 exec {restricted} {binary} {command}");
        self.host.spawn(&["sh", "-c", &script])
    }

    /// Waits until the service manager is told this.
    fn wait_for(&self, expected: &str, limit: Duration) -> Result<()> {
        self.manager.set_read_timeout(Some(limit))?;
        let mut told = [0; 512];
        loop {
            let length = self.manager.recv(&mut told).with_context(|| format!("nobody says {expected}"))?;
            if told[..length].trim_ascii_end() == expected.as_bytes() {
                return Ok(());
            }
        }
    }

    /// Nothing of all that the manager has been told so far is left.
    fn forget(&self) -> Result<()> {
        self.manager.set_nonblocking(true)?;
        let mut told = [0; 512];
        while self.manager.recv(&mut told).is_ok() {}
        Ok(self.manager.set_nonblocking(false)?)
    }
}

#[test]
#[ignore = "needs root"]
fn a_cluster_does_with_its_units_capabilities_and_its_watchdog_with_its_loop() -> Result<()> {
    let scene = Managed::new()?;
    scene.host.output(&["mkdir", "-m", "777", "/run/nobodys"])?;
    let file = format!(
        "{OWNER}track = [{{ check = {{ type = \"ping\", interval = \"50ms\" }} }}]\n\
         notify = [\"/bin/sh\", \"-c\", \"id -u > /run/nobodys/id; grep CapEff /proc/self/status >> /run/nobodys/id\"]\n\
         [programs]\nuser = \"nobody\"\n"
    );
    scene.host.write(FILE, &file)?;
    let mut cluster = scene.start("rlvs-cluster.service", &format!("cluster {FILE}"))?;
    scene.wait_for("READY=1", LIMIT)?;
    scene.wait_for("WATCHDOG=1", LIMIT)?;
    wait::until_ok(LIMIT, || {
        let addresses = scene.host.output(&["ip", "address", "show", "lo"])?;
        ensure!(addresses.contains("192.0.2.1/32"), "{addresses}");
        let told = scene.host.output(&["cat", "/run/nobodys/id"])?;
        ensure!(told == "65534\nCapEff:\t0000000000000000\n", "{told}");
        Ok(())
    })?;
    ensure!(
        !cluster.stderr().contains("WARN") && !cluster.stderr().contains("ERROR"),
        "{}",
        cluster.stderr()
    );

    // A loop that hangs is no loop: here all of the process.
    cluster.signal(Signal::STOP)?;
    let stat = format!("/proc/{}/stat", cluster.id());
    wait::until(LIMIT, || Ok(std::fs::read_to_string(&stat)?.contains(") T ").then_some(())))?;
    scene.forget()?;
    scene.manager.set_read_timeout(Some(Duration::from_secs(1)))?;
    ensure!(scene.manager.recv(&mut [0; 512]).is_err(), "the watchdog is served by a stopped process");
    cluster.signal(Signal::CONT)?;
    scene.wait_for("WATCHDOG=1", LIMIT)?;

    cluster.signal(Signal::TERM)?;
    scene.wait_for("STOPPING=1", LIMIT)?;
    ensure!(cluster.wait(LIMIT)?.success(), "{}", cluster.stderr());
    ensure!(!scene.host.output(&["ip", "address", "show", "lo"])?.contains("192.0.2.1"));
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn what_a_killed_cluster_leaves_is_taken_off() -> Result<()> {
    let scene = Scene::new()?;
    scene.host.ip("addr add 192.0.2.9/32 dev lo")?;
    let mut cluster = scene.start(OWNER)?;
    let addresses = || scene.host.output(&["ip", "address", "show", "lo"]);
    wait::until(LIMIT, || Ok(addresses()?.contains("192.0.2.1/32").then_some(())))?;
    let refused = rlvs(&scene.host, "cluster --clean").err().context("it is running")?.to_string();
    ensure!(refused.contains("runs a cluster here"), "{refused}");
    cluster.signal(Signal::KILL)?;
    cluster.wait(LIMIT)?;
    ensure!(addresses()?.contains("192.0.2.1/32"));
    let said = rlvs(&scene.host, "cluster --clean")?;
    ensure!(said == "192.0.2.1/32 is off lo\n", "{said}");
    let left = addresses()?;
    ensure!(
        !left.contains("192.0.2.1/") && left.contains("192.0.2.9/32") && left.contains("127.0.0.1/8"),
        "{left}"
    );
    ensure!(rlvs(&scene.host, "cluster --clean")?.is_empty());
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_director_does_with_its_units_capabilities() -> Result<()> {
    let scene = Managed::new()?;
    scene.host.ip("link add wan type veth peer name far\nlink set wan up\nlink set far up")?;
    let mut director = scene.start("rlvs.service", "run --interface wan")?;
    director.wait_for("ready", START)?;
    scene.wait_for("READY=1", LIMIT)?;
    scene.wait_for("WATCHDOG=1", LIMIT)?;
    let log = director.stderr();
    ensure!(!log.contains("ERROR") && !log.contains("not permitted"), "{log}");
    rlvs(&scene.host, "ipvsadm -A -t 192.0.2.1:80 -s rr")?;
    ensure!(rlvs(&scene.host, "ipvsadm -L -n")?.contains("192.0.2.1:80"));
    scene.host.output(&["cat", "/run/rlvs/proc/net/ip_vs"])?;
    director.signal(Signal::HUP)?;
    director.wait_for("SIGHUP", LIMIT)?;
    director.signal(Signal::TERM)?;
    ensure!(director.wait(LIMIT)?.success(), "{}", director.stderr());
    rlvs(&scene.host, "detach")?;
    Ok(())
}
