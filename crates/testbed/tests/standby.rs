//! Two directors by one file: a real server that fails is taken out, a director that fails is stood in for.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rlvs_testbed::load::{self, Shares};
use rlvs_testbed::{
    Director, Family, Method, Namespace, Port, Process, Topology, binary, real_server, rlvs, wait,
};
use rustix::process::Signal;

const FILE: &str = "/run/cluster.toml";
const LIMIT: Duration = Duration::from_secs(30);

/// The classical network with NAT and a second director beside the first.
struct Scene {
    _directors: [Director; 2],
    net: Topology,
    standby: Namespace,
}

/// The VIP, and the address that the real servers' default routes lead to.
const SHARED: [&str; 2] = ["192.168.0.1", "172.16.0.254"];

impl Scene {
    fn new() -> Result<Self> {
        let net = Topology::new(Method::Nat, 2)?;
        // What was the director's is now of whoever is master.
        net.director.ip("addr del 192.168.0.1/32 dev wan\naddr del 172.16.0.254/24 dev lan")?;
        net.director.ip("addr add 172.16.0.251/24 dev lan")?;
        let standby = Namespace::new("standby")?;
        standby.sysctl("net.ipv4.ip_forward=1")?;
        net.client_network.plug(&standby, &Port { interface: "wan", addresses: &["192.168.0.253/24"] })?;
        net.server_network.plug(&standby, &Port { interface: "lan", addresses: &["172.16.0.252/24"] })?;
        let start = |host| move || Director::start(host);
        let directors = std::thread::scope(|scope| {
            let starting = [&net.director, &standby].map(|host| scope.spawn(start(host)));
            starting.map(|one| one.join().unwrap_or_else(|_| anyhow::bail!("a start panicked")))
        });
        let [one, other] = directors;
        Ok(Self { _directors: [one?, other?], net, standby })
    }

    fn nginx(&self, number: u8) -> Result<Process> {
        let host = &self.net.servers[usize::from(number) - 1];
        real_server::nginx(host, Family::V4.server(number), 80, &format!("rs{number}"))
    }

    /// Waits until the master has both shared addresses, and the other one neither.
    fn wait_for_master(&self, first: bool) -> Result<()> {
        wait::until_ok(LIMIT, || {
            for (host, expected) in [(&self.net.director, first), (&self.standby, !first)] {
                let addresses = host.output(&["ip", "-brief", "address", "show"])?;
                for shared in SHARED {
                    let has = addresses.contains(&format!(" {shared}/"));
                    ensure!(has == expected, "{}: {shared}: {has}", host.name());
                }
            }
            Ok(())
        })
    }

    /// Waits until four requests are answered by these.
    fn served_by(&self, expected: &[(&str, u32)]) -> Result<()> {
        let expected: Shares = expected.iter().map(|(name, share)| ((*name).into(), *share)).collect();
        wait::until_ok(LIMIT, || {
            let shares = load::curl(&self.net.client, Family::V4.vip(), 80, 4)?;
            ensure!(shares == expected, "{shares:?}");
            Ok(())
        })
    }
}

fn file(priority: u8, second_weight: u8) -> String {
    let router = |name: &str, id: u8, interface: &str, address: &str| {
        format!(
            "[[vrrp]]\nname = \"{name}\"\nid = {id}\ninterface = \"{interface}\"\naddresses = \"{address}\"\n\
             version = 3\ninterval = \"200ms\"\npriority = {priority}\n"
        )
    };
    let service = format!(
        "[[service]]\ntcp = \"192.168.0.1:80\"\nscheduler = \"rr\"\n\
         check = {{ type = \"http\", body = \"rs\", interval = \"200ms\" }}\n\
         server = [{{ address = \"172.16.0.1\" }}, {{ address = \"172.16.0.2\", weight = {second_weight} }}]\n"
    );
    let (outside, inside) = (router("outside", 1, "wan", SHARED[0]), router("inside", 2, "lan", SHARED[1]));
    format!("{service}{outside}{inside}[[sync_group]]\nname = \"g\"\nmembers = [\"outside\", \"inside\"]\n")
}

fn cluster(host: &Namespace, file: &str) -> Result<Process> {
    host.write(FILE, file)?;
    let mut cluster = host.spawn(&[&binary()?, "cluster", FILE])?;
    cluster.wait_for("ready", LIMIT)?;
    Ok(cluster)
}

#[test]
#[ignore = "needs root"]
fn servers_and_directors_fail_and_come_back() -> Result<()> {
    let scene = Scene::new()?;
    let director = &scene.net.director;
    let (first, _second) = (scene.nginx(1)?, scene.nginx(2)?);
    director.write(FILE, &file(150, 1))?;
    ensure!(rlvs(director, &format!("check {FILE}"))?.contains("services: 1, real servers: 2"));
    ensure!(rlvs(director, &format!("diff {FILE}")).is_err(), "there are differences, so its status is 1");
    let mut active = cluster(director, &file(150, 1))?;
    let _standby = cluster(&scene.standby, &file(100, 1))?;
    scene.wait_for_master(true)?;
    scene.served_by(&[("rs1", 2), ("rs2", 2)])?;
    ensure!(rlvs(director, &format!("diff {FILE}"))?.is_empty());

    drop(first);
    scene.served_by(&[("rs2", 4)])?;
    let listing = rlvs(director, "ipvsadm -L -n")?;
    ensure!(!listing.contains("172.16.0.1:80") && listing.contains("172.16.0.2:80"), "{listing}");
    let _first = scene.nginx(1)?;
    scene.served_by(&[("rs1", 2), ("rs2", 2)])?;

    // The cable to the clients: the other side's address goes, too.
    scene.net.client_network.connect(2, false)?;
    scene.wait_for_master(false)?;
    scene.served_by(&[("rs1", 2), ("rs2", 2)])?;
    scene.net.client_network.connect(2, true)?;
    scene.wait_for_master(true)?;
    scene.served_by(&[("rs1", 2), ("rs2", 2)])?;

    // A file with a mistake changes nothing, a good one only what is different in it.
    director.write(FILE, "zork = 1")?;
    active.signal(Signal::HUP)?;
    active.wait_for("unknown key `zork`", LIMIT)?;
    director.write(FILE, &file(150, 0))?;
    active.signal(Signal::HUP)?;
    scene.served_by(&[("rs1", 4)])?;
    scene.wait_for_master(true)?;

    // It is killed, and cleans up after itself when it starts again.
    active.signal(Signal::KILL)?;
    active.wait(LIMIT)?;
    wait::until(LIMIT, || {
        let addresses = scene.standby.output(&["ip", "-brief", "address", "show"])?;
        Ok(SHARED.iter().all(|shared| addresses.contains(&format!(" {shared}/"))).then_some(()))
    })?;
    let mut active = cluster(director, &file(150, 1))?;
    scene.wait_for_master(true)?;
    scene.served_by(&[("rs1", 2), ("rs2", 2)])?;

    // It ends; its services stay, its addresses do not.
    active.signal(Signal::TERM)?;
    ensure!(active.wait(LIMIT)?.success(), "{}", active.stderr());
    scene.wait_for_master(false)?;
    scene.served_by(&[("rs1", 2), ("rs2", 2)]).context("after its end")?;
    ensure!(rlvs(director, "ipvsadm -L -n")?.contains("172.16.0.2:80"));
    Ok(())
}
