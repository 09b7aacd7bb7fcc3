//! Piranha's heartbeat between two of ours, each in a network namespace, by one `lvs.cf` for both.
#![allow(clippy::unwrap_used, reason = "helpers of tests; what does not hold here is a failed test")]

use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rlvs_cluster::director::Place;
use rlvs_cluster::{Order, Source};
use rlvs_testbed::{Lan, Namespace, Port, wait};
use rustix::process::Signal;
use tokio::sync::{mpsc, oneshot};

const LIMIT: Duration = Duration::from_secs(30);
const FILE: &str = "/run/lvs.cf";
/// The virtual addresses: of a service, and the servers' gateway.
const VIPS: [&str; 2] = ["10.7.0.100", "10.7.0.254"];

/// Two routers on a segment: the primary has 10.7.0.1, the backup 10.7.0.2.
struct Scene {
    routers: [Option<Router>; 2],
    hosts: [Namespace; 2],
    lan: Lan,
}

impl Scene {
    /// By a file with these lines, too.
    fn new(more: &str) -> Result<Self> {
        let (lan, hosts) = (Lan::new("segment")?, [Namespace::new("primary")?, Namespace::new("backup")?]);
        let text = format!(
            "primary = 10.7.0.1\nbackup = 10.7.0.2\nbackup_active = 1\nheartbeat = 1\nkeepalive = 1\ndeadtime = 4\n\
             network = nat\nnat_router = 10.7.0.254 eth0:2\nnat_nmask = 255.255.255.0\n{more}\n\
             active_cmd = \"echo up >> /run/told\"\ninactive_cmd = \"echo down >> /run/told\"\n\
             virtual web {{\nactive = 1\naddress = 10.7.0.100 eth0:1\nvip_nmask = 255.255.255.0\nport = 80\n}}\n"
        );
        for (host, addresses) in hosts.iter().zip([["10.7.0.1/24"], ["10.7.0.2/24"]]) {
            lan.plug(host, &Port { interface: "eth0", addresses: &addresses })?;
            host.write(FILE, &text)?;
        }
        Ok(Self { routers: [None, None], hosts, lan })
    }

    fn start(&mut self, number: usize) -> Result<()> {
        self.routers[number] = Some(Router::start(&self.hosts[number])?);
        Ok(())
    }

    fn stop(&mut self, number: usize) -> Result<()> {
        self.routers[number].take().context("it does not run")?.stop()
    }

    /// Waits until this router has all virtual addresses, and the others have none.
    fn wait_for_active(&self, number: usize) -> Result<()> {
        wait::until_ok(LIMIT, || {
            for (at, host) in self.hosts.iter().enumerate() {
                ensure!(self.has(at, host)? == [at == number; 2], "{number} is not active alone");
            }
            Ok(())
        })
    }

    fn has(&self, number: usize, host: &Namespace) -> Result<[bool; 2]> {
        let all = host.output(&["ip", "-brief", "address", "show"])?;
        let has = VIPS.map(|vip| all.contains(&format!(" {vip}/24")));
        ensure!(has[0] == has[1], "router {number} has a part of the addresses: {all}");
        Ok(has)
    }
}

/// A cluster in a thread of its own that lives on a host.
struct Router {
    orders: mpsc::Sender<Order>,
    kill: oneshot::Sender<()>,
    thread: JoinHandle<Result<()>>,
}

impl Router {
    fn start(host: &Namespace) -> Result<Self> {
        let (orders, received) = mpsc::channel(1);
        let (kill, killed) = oneshot::channel::<()>();
        // A new thread is where its parent is.
        let thread = host.run(move || {
            Ok(std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async move {
                    let source = Source::LvsCf(PathBuf::from(FILE));
                    tokio::select! {
                        ended = rlvs_cluster::run(source, Place::Here, received) => Ok(ended?),
                        // Nothing is cleaned up, as if the process had been killed.
                        Ok(()) = killed => Ok(()),
                    }
                })
            }))
        })?;
        Ok(Self { orders, kill, thread })
    }

    fn stop(self) -> Result<()> {
        self.orders.blocking_send(Order::Stop)?;
        wait::until(LIMIT, || Ok(self.thread.is_finished().then_some(())))?;
        self.thread.join().unwrap()
    }

    fn kill(self) -> Result<()> {
        self.kill.send(()).ok().context("it has ended already")?;
        self.thread.join().unwrap()
    }
}

#[test]
#[ignore = "needs root"]
fn one_of_two_routers_has_the_addresses() -> Result<()> {
    let mut scene = Scene::new("")?;
    // The backup finds itself alone; the primary that comes later leaves it the addresses.
    scene.start(1)?;
    scene.wait_for_active(1)?;
    scene.start(0)?;
    wait::until_ok(LIMIT, || {
        let told = scene.hosts[0].output(&["cat", "/run/told"])?;
        ensure!(told == "down\n", "{told}");
        Ok(())
    })?;
    std::thread::sleep(Duration::from_secs(5));
    scene.wait_for_active(1)?;
    // A file that is read again moves addresses, and nobody takes over meanwhile.
    let text = scene.hosts[1].output(&["cat", FILE])?;
    for moved in [true, false] {
        let changed = if moved { text.replace("10.7.0.100 ", "10.7.0.101 ") } else { text.clone() };
        scene.hosts[1].write(FILE, &changed)?;
        scene.routers[1].as_ref().context("it does not run")?.orders.blocking_send(Order::Reload)?;
        wait::until_ok(LIMIT, || {
            let all = scene.hosts[1].output(&["ip", "-brief", "address", "show"])?;
            ensure!(all.contains("10.7.0.101/") == moved && all.contains("10.7.0.100/") != moved, "{all}");
            Ok(())
        })?;
    }
    scene.wait_for_active(1)?;
    // Who stops says so.
    scene.stop(1)?;
    scene.wait_for_active(0)?;
    ensure!(scene.hosts[1].output(&["cat", "/run/told"])? == "down\nup\ndown\n");
    // Who is killed says nothing, and is dead after a while. What it left is taken off when it is back.
    scene.start(1)?;
    std::thread::sleep(Duration::from_secs(1));
    scene.wait_for_active(0)?;
    scene.routers[0].take().context("it does not run")?.kill()?;
    wait::until_ok(LIMIT, || {
        ensure!(scene.has(1, &scene.hosts[1])? == [true; 2], "the backup has not taken over");
        Ok(())
    })?;
    scene.start(0)?;
    scene.wait_for_active(1)?;
    scene.stop(1)?;
    scene.wait_for_active(0)?;
    scene.stop(0)?;
    ensure!(scene.has(0, &scene.hosts[0])? == [false; 2], "addresses are left");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_lost_carrier_makes_a_standby_and_of_two_active_ones_the_primary_remains() -> Result<()> {
    let mut scene = Scene::new("monitor_links = 1")?;
    scene.start(0)?;
    scene.start(1)?;
    scene.wait_for_active(0)?;
    scene.lan.connect(1, false)?;
    scene.wait_for_active(1)?;
    scene.lan.connect(1, true)?;
    std::thread::sleep(Duration::from_secs(5));
    scene.wait_for_active(1)?;
    // A firewall between them that nobody sees: both are active, until it is gone.
    let rules = ["nft add table ip cut", "nft add chain ip cut in { type filter hook input priority 0 ; }"];
    for rule in rules.into_iter().chain(["nft add rule ip cut in udp dport 539 drop"]) {
        for host in &scene.hosts {
            host.output(&rule.split(' ').collect::<Vec<_>>())?;
        }
    }
    wait::until_ok(LIMIT, || {
        for (at, host) in scene.hosts.iter().enumerate() {
            ensure!(scene.has(at, host)? == [true; 2], "{at} is not active");
        }
        Ok(())
    })?;
    for host in &scene.hosts {
        host.output(&["nft", "delete", "table", "ip", "cut"])?;
    }
    scene.wait_for_active(0)?;
    scene.stop(0)?;
    scene.stop(1)
}

/// On the wire: a heartbeat of four octets each second, and five gratuitous ARPs for each address, a second apart. Without a
/// backup no heartbeat leaves.
#[test]
#[ignore = "needs root"]
fn heartbeats_and_announcements_are_piranhas() -> Result<()> {
    let mut scene = Scene::new("")?;
    let fields = "tshark -l -i bridge -T fields -e frame.time_relative -e udp.length -e udp.payload -e arp.isgratuitous \
                  -e arp.src.proto_ipv4 -f";
    let filter = "src 10.7.0.1 and udp port 539 or arp src host 10.7.0.100 or arp src host 10.7.0.254";
    let words: Vec<_> = fields.split_whitespace().chain([filter]).collect();
    let mut tshark = scene.lan.switch().spawn(&words)?;
    tshark.wait_for("Capturing on", LIMIT)?;
    // It says so a moment before it does so.
    std::thread::sleep(Duration::from_secs(1));
    scene.start(0)?;
    scene.wait_for_active(0)?;
    let lines = || tshark.stdout().lines().map(str::to_owned).collect::<Vec<_>>();
    let announcements = |lines: &[String], vip: &str| lines.iter().filter(|line| line.ends_with(vip)).count();
    wait::until_ok(LIMIT, || {
        let lines = lines();
        ensure!(VIPS.iter().all(|vip| announcements(&lines, vip) >= 5), "{lines:?}");
        Ok(())
    })?;
    std::thread::sleep(Duration::from_secs(2));
    let lines = lines();
    let times = |part: &str| {
        let own = lines.iter().filter(|line| line.contains(part));
        own.filter_map(|line| line.split('\t').next()?.parse().ok()).collect::<Vec<f64>>()
    };
    for vip in VIPS {
        let times = times(&format!("\t{vip}"));
        ensure!(times.len() == 5 && times[4] - times[0] >= 3.9, "{vip}: {lines:?}");
    }
    // Its order of octets is this machine's.
    let word = |word: u32| word.to_ne_bytes().map(|octet| format!("{octet:02x}")).concat();
    let (stopped, running) = (times(&word(0xadbd_dabd)), times(&word(0xbdad_dbda)));
    ensure!(!stopped.is_empty() && running.len() >= 4, "{lines:?}");
    ensure!(
        lines.iter().filter(|line| !line.contains("10.7.0.")).all(|line| line.contains("\t12\t")),
        "{lines:?}"
    );
    // Who has just become active says so at once: so take those after.
    let beats = running.len() - 1;
    ensure!(running[beats] - running[0] >= 0.9 * beats as f64, "too many: {lines:?}");
    scene.stop(0)?;
    tshark.signal(Signal::INT)?;
    tshark.finish(LIMIT)?;
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn without_a_backup_nothing_is_said_and_the_primary_is_active_at_once() -> Result<()> {
    let mut scene = Scene::new("backup_active = 0")?;
    let mut tshark = scene.lan.switch().spawn(&["tshark", "-l", "-i", "bridge", "-f", "udp port 539"])?;
    tshark.wait_for("Capturing on", LIMIT)?;
    std::thread::sleep(Duration::from_secs(1));
    scene.start(0)?;
    scene.wait_for_active(0)?;
    // Time for a few heartbeats.
    std::thread::sleep(Duration::from_secs(3));
    scene.stop(0)?;
    tshark.signal(Signal::INT)?;
    let captured = tshark.finish(LIMIT)?.stdout;
    ensure!(captured.is_empty(), "{captured}");
    Ok(())
}
