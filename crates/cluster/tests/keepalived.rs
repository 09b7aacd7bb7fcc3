//! VRRP with keepalived as the other machine, each in a network namespace, on one segment.
#![allow(clippy::unwrap_used, reason = "helpers of tests; what does not hold here is a failed test")]

use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rlvs_cluster::Order;
use rlvs_cluster::director::Place;
use rlvs_cluster::status;
use rlvs_testbed::{Lan, Namespace, Port, Process, wait};
use rustix::process::Signal;
use tokio::sync::mpsc;

const LIMIT: Duration = Duration::from_secs(30);
const FILE: &str = "/run/cluster.toml";
/// Where programs leave what they were told.
const TOLD: &str = "/run/told";

/// A version of VRRP over one of IP.
#[derive(Clone, Copy, Debug)]
struct Kind {
    version: u8,
    /// What all addresses begin with.
    prefix: &'static str,
    /// The time between advertisements, for us and for keepalived.
    interval: (&'static str, &'static str),
}

const KINDS: [Kind; 3] = [
    Kind { version: 2, prefix: "10.7.0.", interval: ("1s", "1") },
    Kind { version: 3, prefix: "10.7.0.", interval: ("400ms", "0.4") },
    Kind { version: 3, prefix: "fd07::", interval: ("400ms", "0.4") },
];

impl Kind {
    fn vip(&self) -> String {
        format!("{}100", self.prefix)
    }

    fn is_v6(&self) -> bool {
        self.prefix.contains(':')
    }

    /// keepalived's side, on `eth0`.
    fn keepalived(&self, priority: u8, more: &str) -> String {
        let Kind { version, interval: (_, interval), .. } = self;
        let vip = self.vip();
        format!(
            "global_defs {{\n vrrp_version {version}\n vrrp_garp_master_delay 1\n}}\n\
             vrrp_instance VI_1 {{\n state BACKUP\n interface eth0\n virtual_router_id 51\n priority {priority}\n \
             advert_int {interval}\n {more}\n virtual_ipaddress {{\n {vip}\n }}\n}}\n"
        )
    }

    /// Our side, on `eth0`.
    fn ours(&self, priority: u8, more: &str) -> String {
        let Kind { version, interval: (interval, _), .. } = self;
        format!(
            "[[vrrp]]\nname = \"VI_1\"\ninterface = \"eth0\"\nid = 51\nversion = {version}\npriority = {priority}\n\
             interval = \"{interval}\"\naddresses = [\"{}\"]\n\
             notify = [\"/bin/sh\", \"-c\", \"echo $* >> {TOLD}\", \"sh\"]\n{more}\n",
            self.vip()
        )
    }
}

/// Two machines on a segment: `eth0` of each has the address of its number.
struct Scene {
    cluster: Option<Cluster>,
    keepalived: Option<Process>,
    ours: Namespace,
    theirs: Namespace,
    lan: Lan,
}

impl Scene {
    fn new() -> Result<Self> {
        let (lan, ours, theirs) = (Lan::new("segment")?, Namespace::new("ours")?, Namespace::new("theirs")?);
        lan.plug(&ours, &Port { interface: "eth0", addresses: &["10.7.0.1/24", "fd07::1/64"] })?;
        lan.plug(&theirs, &Port { interface: "eth0", addresses: &["10.7.0.2/24", "fd07::2/64"] })?;
        Ok(Self { cluster: None, keepalived: None, ours, theirs, lan })
    }

    fn start_keepalived(&mut self, config: &str) -> Result<()> {
        self.theirs.write("/run/keepalived.conf", config)?;
        let words = "keepalived --vrrp --dont-fork --log-console --log-detail --use-file /run/keepalived.conf \
                     --pid /run/keepalived.pid --vrrp_pid /run/vrrp.pid";
        let words: Vec<_> = words.split_whitespace().collect();
        self.keepalived = Some(self.theirs.spawn(&words)?);
        Ok(())
    }

    fn stop_keepalived(&mut self) -> Result<()> {
        let mut keepalived = self.keepalived.take().context("keepalived does not run")?;
        keepalived.signal(Signal::TERM)?;
        keepalived.wait(LIMIT)?;
        Ok(())
    }

    fn start_ours(&mut self, config: &str) -> Result<()> {
        self.ours.write(FILE, config)?;
        self.cluster = Some(Cluster::start(&self.ours)?);
        Ok(())
    }

    fn stop_ours(&mut self) -> Result<()> {
        self.cluster.take().context("ours does not run")?.stop()
    }

    /// Waits until the one has the virtual address and the other one has not.
    fn wait_for_master(&self, ours: bool, kind: Kind) -> Result<()> {
        let result = wait::until_ok(LIMIT, || {
            let found = [has(&self.ours, &kind.vip())?, has(&self.theirs, &kind.vip())?];
            ensure!(found == [ours, !ours], "{found:?} is not {:?}", [ours, !ours]);
            Ok(())
        });
        let log = self.keepalived.as_ref().map(|keepalived| keepalived.stdout() + &keepalived.stderr());
        result.with_context(|| format!("{kind:?}: keepalived: {}", log.unwrap_or_default()))
    }

    /// Our status says that we are this, and what keepalived last said of its priority.
    fn wait_for_status(&self, state: &'static str, theirs: Option<u8>) -> Result<()> {
        wait::until_ok(LIMIT, || {
            let status = self.ours.run(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                Ok(runtime.block_on(status::ask(&status::socket_name(&Place::Here)))?)
            })?;
            let [instance] = status.instances.as_slice() else { bail!("{status:?}") };
            let heard: Vec<_> = instance.peers.iter().map(|peer| peer.priority).collect();
            ensure!(instance.state == state && heard == Vec::from_iter(theirs), "{instance:?}");
            ensure!(!instance.reason.is_empty(), "{instance:?}");
            Ok(())
        })
    }

    /// A program is called after the addresses have moved.
    fn wait_for_told(&self, expected: &str) -> Result<()> {
        self.wait_for_text(TOLD, expected)
    }

    fn wait_for_text(&self, path: &str, expected: &str) -> Result<()> {
        wait::until_ok(LIMIT, || {
            let text = self.ours.output(&["cat", path])?;
            ensure!(text == expected, "{path} has {text:?}, not {expected:?}");
            Ok(())
        })
    }
}

fn has(host: &Namespace, address: &str) -> Result<bool> {
    let all = host.output(&["ip", "-brief", "address", "show"])?;
    Ok(all.contains(&format!(" {address}/")))
}

/// A cluster in a thread of its own that lives on a host.
struct Cluster {
    orders: mpsc::Sender<Order>,
    thread: JoinHandle<Result<()>>,
}

impl Cluster {
    fn start(host: &Namespace) -> Result<Self> {
        let (orders, received) = mpsc::channel(1);
        // A new thread is where its parent is.
        let thread = host.run(move || {
            Ok(std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                Ok(runtime.block_on(rlvs_cluster::run(Path::new(FILE), Place::Here, received))?)
            }))
        })?;
        Ok(Self { orders, thread })
    }

    fn stop(self) -> Result<()> {
        self.orders.blocking_send(Order::Stop)?;
        wait::until(LIMIT, || Ok(self.thread.is_finished().then_some(())))?;
        self.thread.join().unwrap()
    }
}

/// Most of each test is waiting, so that the kinds may do it side by side.
fn at_once(kinds: &[Kind], test: impl Fn(Kind) -> Result<()> + Sync) -> Result<()> {
    let test = &test;
    std::thread::scope(|scope| {
        let running: Vec<_> = kinds.iter().map(|kind| scope.spawn(move || test(*kind))).collect();
        running.into_iter().try_for_each(|one| one.join().unwrap())
    })
}

#[test]
#[ignore = "needs root"]
fn the_address_is_with_whoever_has_the_higher_priority_and_lives() -> Result<()> {
    at_once(&KINDS, |kind| {
        let mut scene = Scene::new()?;
        scene.start_keepalived(&kind.keepalived(100, ""))?;
        scene.wait_for_master(false, kind)?;
        scene.start_ours(&kind.ours(150, ""))?;
        scene.wait_for_master(true, kind)?;
        scene.wait_for_told("INSTANCE VI_1 BACKUP 150\nINSTANCE VI_1 MASTER 150\n")?;
        scene.wait_for_status("MASTER", Some(100))?;
        // keepalived takes over when we resign, and when we are back gives it up.
        scene.stop_ours()?;
        scene.wait_for_master(false, kind)?;
        let told = "INSTANCE VI_1 BACKUP 150\nINSTANCE VI_1 MASTER 150\nINSTANCE VI_1 STOP 150\n";
        scene.wait_for_told(told)?;
        scene.start_ours(&kind.ours(150, ""))?;
        scene.wait_for_master(true, kind)?;
        if kind.version == 3 {
            // Now with the lower priority: keepalived's return ends our time.
            scene.stop_keepalived()?;
            scene.stop_ours()?;
            scene.start_ours(&kind.ours(50, ""))?;
            wait::until(LIMIT, || Ok(has(&scene.ours, &kind.vip())?.then_some(())))?;
            scene.start_keepalived(&kind.keepalived(100, ""))?;
            scene.wait_for_master(false, kind)?;
            scene.stop_keepalived()?;
            wait::until(LIMIT, || Ok(has(&scene.ours, &kind.vip())?.then_some(())))?;
        }
        scene.stop_ours()?;
        ensure!(!has(&scene.ours, &kind.vip())?, "a virtual address is left");
        Ok(())
    })
}

#[test]
#[ignore = "needs root"]
fn a_cable_that_is_pulled_and_an_address_that_is_taken_away() -> Result<()> {
    let kind = KINDS[1];
    let mut scene = Scene::new()?;
    scene.start_keepalived(&kind.keepalived(100, ""))?;
    scene.start_ours(&kind.ours(150, "unadvertised = [\"10.7.0.101/24\", \"fd07::101/64\"]"))?;
    scene.wait_for_master(true, kind)?;
    for address in ["10.7.0.101", "fd07::101"] {
        wait::until(LIMIT, || Ok(has(&scene.ours, address)?.then_some(())))?;
    }
    scene.ours.ip("addr del 10.7.0.100/32 dev eth0")?;
    scene.wait_for_master(true, kind)?;
    scene.lan.connect(1, false)?;
    scene.wait_for_master(false, kind)?;
    scene.lan.connect(1, true)?;
    scene.wait_for_master(true, kind)?;
    let states = ["BACKUP", "MASTER", "FAULT", "BACKUP", "MASTER"];
    let told: String = states.iter().map(|state| format!("INSTANCE VI_1 {state} 150\n")).collect();
    scene.wait_for_told(&told)?;
    scene.stop_ours()?;
    ensure!(!has(&scene.ours, "fd07::101")?, "an address is left");
    Ok(())
}

/// An interface that is not there takes 60 off the priority, which keepalived then surpasses.
#[test]
#[ignore = "needs root"]
fn a_tracked_interface_changes_the_priority() -> Result<()> {
    let kind = KINDS[1];
    let mut scene = Scene::new()?;
    scene.start_ours(&kind.ours(150, "track = [{ interface = \"other\", weight = -60 }]"))?;
    wait::until(LIMIT, || Ok(has(&scene.ours, &kind.vip())?.then_some(())))?;
    scene.start_keepalived(&kind.keepalived(100, ""))?;
    scene.wait_for_master(false, kind)?;
    scene.ours.ip("link add other type veth peer name end\nlink set end up\nlink set other up")?;
    scene.wait_for_master(true, kind)?;
    scene.ours.ip("link set end down")?;
    scene.wait_for_master(false, kind)?;
    scene.stop_ours()
}

#[test]
#[ignore = "needs root"]
fn unicast_passwords_and_no_preemption() -> Result<()> {
    at_once(&[KINDS[0], KINDS[2]], |kind| {
        let silence = Duration::from_secs(if kind.version == 2 { 4 } else { 2 });
        let mut scene = Scene::new()?;
        let (own, peer) = (format!("{}1", kind.prefix), format!("{}2", kind.prefix));
        let mut theirs = format!("nopreempt\nunicast_src_ip {peer}\nunicast_peer {{\n {own}\n }}\n");
        let mut ours = format!("peers = [\"{peer}\"]\nsource = \"{own}\"\npreempt = false\n");
        if kind.version == 2 {
            theirs.push_str("authentication {\n auth_type PASS\n auth_pass secret\n }\n");
            ours.push_str("password = \"secret\"\n");
        }
        scene.start_keepalived(&kind.keepalived(100, &theirs))?;
        scene.wait_for_master(false, kind)?;
        scene.start_ours(&kind.ours(150, &ours))?;
        scene.wait_for_told("INSTANCE VI_1 BACKUP 150\n")?;
        // As long as it would take to be master if nobody else were there, and more.
        std::thread::sleep(silence);
        scene.wait_for_master(false, kind)?;
        scene.stop_keepalived()?;
        wait::until(LIMIT, || Ok(has(&scene.ours, &kind.vip())?.then_some(())))?;
        scene.start_keepalived(&kind.keepalived(200, &theirs))?;
        keepalived_is_up(&mut scene)?;
        std::thread::sleep(silence);
        scene.wait_for_master(true, kind)?;
        scene.stop_ours()?;
        scene.wait_for_master(false, kind)?;
        Ok(())
    })
}

fn keepalived_is_up(scene: &mut Scene) -> Result<()> {
    scene.keepalived.as_mut().context("keepalived does not run")?.wait_for("Entering BACKUP STATE", LIMIT)
}

/// A check that fails takes 60 off the priority, and one without a weight the right to be master.
#[test]
#[ignore = "needs root"]
fn a_tracked_check_changes_the_priority_or_is_a_fault() -> Result<()> {
    let kind = KINDS[1];
    let mut scene = Scene::new()?;
    let check = |file: &str| {
        let keys = "interval = \"50ms\", rise = 1, fall = 1";
        format!("check = {{ type = \"command\", command = \"/usr/bin/test -e {file}\", {keys} }}")
    };
    scene.ours.write("/run/well", "")?;
    scene.ours.write("/run/there", "")?;
    let track =
        format!("track = [{{ {}, weight = -60 }}, {{ {} }}]", check("/run/well"), check("/run/there"));
    scene.start_ours(&kind.ours(150, &track))?;
    wait::until(LIMIT, || Ok(has(&scene.ours, &kind.vip())?.then_some(())))?;
    scene.start_keepalived(&kind.keepalived(100, ""))?;
    keepalived_is_up(&mut scene)?;
    scene.wait_for_master(true, kind)?;
    scene.ours.output(&["rm", "/run/well"])?;
    scene.wait_for_master(false, kind)?;
    scene.ours.write("/run/well", "")?;
    scene.wait_for_master(true, kind)?;
    scene.stop_keepalived()?;
    scene.ours.output(&["rm", "/run/there"])?;
    wait::until(LIMIT, || Ok((!has(&scene.ours, &kind.vip())?).then_some(())))?;
    scene.wait_for_told("INSTANCE VI_1 BACKUP 150\nINSTANCE VI_1 MASTER 150\nINSTANCE VI_1 BACKUP 90\nINSTANCE VI_1 MASTER 150\nINSTANCE VI_1 FAULT 150\n")?;
    scene.stop_ours()
}

/// Two segments, a virtual router on each: a cable of one decides about both, on both machines.
#[test]
#[ignore = "needs root"]
fn a_short_loss_of_the_carrier_changes_nothing() -> Result<()> {
    let kind = KINDS[1];
    let mut scene = Scene::new()?;
    scene.start_ours(&kind.ours(255, "debounce = \"1m\""))?;
    scene.wait_for_told("INSTANCE VI_1 MASTER 255\n")?;
    scene.lan.connect(1, false)?;
    // Long enough for the kernel to tell, and for us to look.
    std::thread::sleep(Duration::from_millis(500));
    scene.lan.connect(1, true)?;
    scene.wait_for_status("MASTER", None)?;
    // What would have been told then is told before this.
    scene.lan.connect(1, false)?;
    scene.ours.write(FILE, &kind.ours(255, ""))?;
    scene.cluster.as_ref().context("ours does not run")?.orders.blocking_send(Order::Reload)?;
    scene.wait_for_told("INSTANCE VI_1 MASTER 255\nINSTANCE VI_1 FAULT 255\n")?;
    scene.stop_ours()
}

#[test]
#[ignore = "needs root"]
fn a_group_is_master_as_a_whole() -> Result<()> {
    let kind = KINDS[1];
    let mut scene = Scene::new()?;
    let other = Lan::new("other segment")?;
    other.plug(&scene.ours, &Port { interface: "eth1", addresses: &["10.8.0.1/24"] })?;
    other.plug(&scene.theirs, &Port { interface: "eth1", addresses: &["10.8.0.2/24"] })?;
    let second = |text: String| {
        text.replace("VI_1", "VI_2").replace("eth0", "eth1").replace("10.7.0.", "10.8.0.").replace("51", "52")
    };
    let theirs = kind.keepalived(100, "");
    let group = "vrrp_sync_group G1 {\n group {\n VI_1\n VI_2\n }\n}\n";
    let (_, instance) = theirs.split_once("vrrp_instance").unwrap();
    scene.start_keepalived(&format!("{theirs}{}{group}", second(format!("vrrp_instance{instance}"))))?;
    let ours = kind.ours(150, "");
    let group = format!(
        "[[sync_group]]\nname = \"G1\"\nmembers = [\"VI_1\", \"VI_2\"]\nnotify = [\"/bin/sh\", \"-c\", \"echo $* >> {TOLD}.group\", \"sh\"]\n"
    );
    scene.start_ours(&format!("{ours}{}{group}", second(ours.clone())))?;
    let masters = |expected: bool| {
        wait::until_ok(LIMIT, || {
            for vip in ["10.7.0.100", "10.8.0.100"] {
                let found = [has(&scene.ours, vip)?, has(&scene.theirs, vip)?];
                ensure!(found == [expected, !expected], "{vip}: {found:?}");
            }
            Ok(())
        })
    };
    masters(true)?;
    other.connect(1, false)?;
    masters(false)?;
    other.connect(1, true)?;
    masters(true)?;
    let told = ["BACKUP", "MASTER", "FAULT", "BACKUP", "MASTER"].map(|state| format!("GROUP G1 {state}\n"));
    scene.wait_for_text("/run/told.group", &told.concat())?;
    scene.stop_ours()
}

/// What is sent is what Wireshark takes for VRRP, ARP and neighbour discovery, and finds nothing wrong with.
#[test]
#[ignore = "needs root"]
fn wireshark_finds_nothing_wrong() -> Result<()> {
    at_once(&KINDS, |kind| {
        let mut scene = Scene::new()?;
        let filter = "ether src host 02:00:00:00:00:07 and (ip proto 112 or ip6 proto 112 or arp or icmp6)";
        scene.ours.ip("link set eth0 down\nlink set eth0 address 02:00:00:00:00:07\nlink set eth0 up")?;
        scene.ours.ip("-6 addr replace fd07::1/64 dev eth0 nodad")?;
        let fields = "tshark -l -i bridge -T fields -E occurrence=l -e frame.protocols -e ip.ttl -e ipv6.hlim -e vrrp.prio \
                      -e vrrp.checksum.status -e arp.isgratuitous -e arp.src.proto_ipv4 -e icmpv6.checksum.status \
                      -e icmpv6.nd.na.target_address -e _ws.malformed -e _ws.expert.message -o ip.check_checksum:TRUE -f";
        let words: Vec<_> = fields.split_whitespace().chain([filter]).collect();
        let mut tshark = scene.lan.switch().spawn(&words)?;
        tshark.wait_for("Capturing on", LIMIT)?;
        // It says so a moment before it does so.
        std::thread::sleep(Duration::from_secs(1));
        let password = if kind.version == 2 { "password = \"secret\"" } else { "" };
        scene.start_ours(&kind.ours(100, password))?;
        wait::until(LIMIT, || Ok(has(&scene.ours, &kind.vip())?.then_some(())))?;
        scene.stop_ours()?;
        // The last packet is that of a master that goes.
        let last = if kind.is_v6() { "\t\t255\t0\t1\t" } else { "\t255\t\t0\t1\t" };
        tshark.wait_for(last, LIMIT)?;
        tshark.signal(Signal::INT)?;
        let lines = tshark.finish(LIMIT)?.stdout;
        let (mut advertisements, mut announcements) = (0, 0);
        for line in lines.lines() {
            let fields: Vec<_> = line.split('\t').collect();
            let [protocols, ttl, hops, priority, sum, gratuitous, arp, icmp_sum, target, malformed, expert] =
                fields[..]
            else {
                anyhow::bail!("{line:?}");
            };
            ensure!(malformed.is_empty(), "{line}");
            if protocols.ends_with(":vrrp") {
                ensure!(format!("{ttl}{hops}") == "255" && sum == "1" && expert.is_empty(), "{line}");
                ensure!(priority == "100" || priority == "0", "{line}");
                advertisements += 1;
            } else if arp == kind.vip() {
                // Wireshark's word for a truth changed with version 4.
                ensure!(gratuitous == "1" || gratuitous == "True", "{line}");
                announcements += 1;
            } else if target == kind.vip() {
                ensure!(icmp_sum == "1" && hops == "255", "{line}");
                announcements += 1;
            }
        }
        ensure!(advertisements >= 2 && announcements >= 5, "{lines}");
        Ok(())
    })
}
