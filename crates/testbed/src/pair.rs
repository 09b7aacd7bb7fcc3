//! Two directors for one network: whichever is VRRP's master has the VIP and, with NAT, the servers' way out.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::director::{Director, binary, rlvs};
use crate::lan::{Lan, Port};
use crate::namespace::Namespace;
use crate::process::Process;
use crate::topology::{Family, Method, Topology};
use crate::wait;

/// The configuration file of `rlvs cluster` on either host.
pub const FILE: &str = "/run/cluster.toml";

/// How long a change of masters may take, on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// How long a director without power seems to have its cables: others hear nothing, that is all.
const SILENCE: Duration = Duration::from_secs(2);

/// The classical network for IPv4 with a second director beside the first. Which of them has the shared addresses is left to
/// `rlvs cluster` on both.
pub struct Pair {
    // Dropped in this order: programs before the hosts that they run on.
    directors: [Option<Director>; 2],
    /// The network, with the first director.
    pub net: Topology,
    /// The second director's host, with the same interfaces.
    pub standby: Namespace,
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The director of the classical network.
    First,
    /// The other one.
    Second,
}

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::First, Self::Second];

    /// The one that this one is not.
    pub fn other(self) -> Self {
        if self == Self::First { Self::Second } else { Self::First }
    }
}

impl Pair {
    /// Builds the network with two directors, and starts both. There is no service yet, and nobody has the shared addresses.
    ///
    /// # Errors
    ///
    /// When this is not root, `rlvs` is not built, or a director does not get ready.
    pub fn start(method: Method, servers: u8) -> Result<Self> {
        let (net, standby) = network(method, servers)?;
        let start = |host| move || Director::start(host);
        let directors = std::thread::scope(|scope| {
            let starting = [&net.director, &standby].map(|host| scope.spawn(start(host)));
            starting.map(|one| one.join().unwrap_or_else(|_| bail!("a start panicked")))
        });
        let [first, second] = directors;
        Ok(Self { directors: [Some(first?), Some(second?)], net, standby })
    }

    /// The same with the kernel's IPVS as the first director.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub fn beside_the_kernel(method: Method, servers: u8) -> Result<Self> {
        let (net, standby) = network(method, servers)?;
        Ok(Self { directors: [None, Some(Director::start(&standby)?)], net, standby })
    }

    /// The addresses that the master has, without prefix lengths: the VIP, and with NAT the servers' default router.
    pub fn shared(&self) -> &'static [&'static str] {
        if self.net.method() == Method::Nat { &["192.168.0.1", "172.16.0.254"] } else { &["192.168.0.1"] }
    }

    /// The host of one of the two.
    pub fn host(&self, side: Side) -> &Namespace {
        match side {
            Side::First => &self.net.director,
            Side::Second => &self.standby,
        }
    }

    /// The routers of one of the two, and their group, for the configuration file: the first has the higher priority.
    pub fn routers(&self, side: Side, interval: Duration, preempt: bool) -> String {
        let priority = if side == Side::First { 150 } else { 100 };
        let (mut file, mut names) = (String::new(), Vec::new());
        for ((interface, id), address) in ["wan", "lan"].into_iter().zip(1..).zip(self.shared()) {
            // Writing to a string does not fail.
            let _ = write!(
                file,
                "[[vrrp]]\nname = \"{interface}\"\nid = {id}\ninterface = \"{interface}\"\naddresses = \"{address}\"\n\
                 version = 3\ninterval = \"{}ms\"\npriority = {priority}\npreempt = {preempt}\n",
                interval.as_millis(),
            );
            names.push(format!("\"{interface}\""));
        }
        let _ = writeln!(file, "[[sync_group]]\nname = \"director\"\nmembers = [{}]", names.join(", "));
        file
    }

    /// Starts synchronisation in both roles on both directors, as for a pair of which either may be the one at work.
    ///
    /// # Errors
    ///
    /// When a daemon does not start.
    pub fn start_daemons(&self, options: &str) -> Result<()> {
        for side in Side::BOTH {
            for role in ["master", "backup"] {
                let daemon = format!("--start-daemon {role} --mcast-interface lan --syncid 7 {options}");
                rlvs(self.host(side), &format!("ipvsadm {daemon}"))?;
            }
        }
        Ok(())
    }

    /// Starts `rlvs cluster` with this configuration.
    ///
    /// # Errors
    ///
    /// When it does not get ready: with what it printed.
    pub fn cluster(&self, side: Side, file: &str) -> Result<Process> {
        let host = self.host(side);
        host.write(FILE, file)?;
        let mut cluster = host.spawn(&[&binary()?, "cluster", FILE])?;
        cluster.wait_for("ready", LIMIT)?;
        Ok(cluster)
    }

    /// Kills a director as a crash does; its data plane stays.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn crash_director(&mut self, side: Side) -> Result<()> {
        self.directors[side as usize].take().map_or_else(|| bail!("it does not run"), Director::kill)
    }

    /// Starts it again.
    ///
    /// # Errors
    ///
    /// When it does not get ready.
    pub fn start_director(&mut self, side: Side) -> Result<()> {
        self.directors[side as usize] = Some(Director::start(self.host(side))?);
        Ok(())
    }

    /// Takes a director's power away, as far as others can see: suddenly no frame comes from it, on neither network. Or gives it back.
    ///
    /// # Errors
    ///
    /// When that cannot be done.
    pub fn power(&self, side: Side, on: bool) -> Result<()> {
        let (wan, lan) = self.sockets(side);
        let networks = [(&self.net.client_network, wan), (&self.net.server_network, lan)];
        if !on {
            // One cable after the other would leave it time to say goodbye; and a switch whose link is down sends its frames to
            // everybody, the other director among them. A port that comes up forwards again.
            let switch = |lan: &Lan, port| {
                let port = format!("port{port}");
                lan.switch().output(&["bridge", "link", "set", "dev", &port, "state", "0"]).map(drop)
            };
            networks.iter().try_for_each(|(lan, port)| switch(lan, *port))?;
            std::thread::sleep(SILENCE);
        }
        networks.iter().try_for_each(|(lan, port)| lan.connect(*port, on))
    }

    /// Lets the directors not hear each other, though everybody else hears both; or lets them again.
    ///
    /// # Errors
    ///
    /// When that cannot be done.
    pub fn part(&self, parted: bool) -> Result<()> {
        let state = if parted { "on" } else { "off" };
        for side in Side::BOTH {
            let (wan, lan) = self.sockets(side);
            for (network, port) in [(&self.net.client_network, wan), (&self.net.server_network, lan)] {
                let port = format!("port{port}");
                network.switch().output(&["bridge", "link", "set", "dev", &port, "isolated", state])?;
            }
        }
        Ok(())
    }

    /// Its ports of the client network and of the server network.
    fn sockets(&self, side: Side) -> (u32, u32) {
        let servers = self.net.servers.len() as u32;
        match side {
            Side::First => (2, 1),
            // The servers were plugged in between: into both networks, if they answer directly.
            Side::Second if self.net.method() == Method::Nat => (3, servers + 2),
            Side::Second => (servers + 3, servers + 2),
        }
    }

    /// Waits until one has all shared addresses, and the other one none.
    ///
    /// # Errors
    ///
    /// When it does not come to that.
    pub fn wait_for_master(&self, master: Side) -> Result<()> {
        wait::until_ok(LIMIT, || {
            for side in Side::BOTH {
                let addresses = self.host(side).output(&["ip", "-brief", "address", "show"])?;
                for shared in self.shared() {
                    let has = addresses.contains(&format!(" {shared}/"));
                    ensure!(has == (side == master), "{}: {shared}: {has}", self.host(side).name());
                }
            }
            Ok(())
        })
    }
}

/// The hosts and their networks; nobody has the shared addresses.
fn network(method: Method, servers: u8) -> Result<(Topology, Namespace)> {
    let net = Topology::new(method, servers)?;
    net.director.ip("addr del 192.168.0.1/32 dev wan\naddr del 172.16.0.254/24 dev lan")?;
    net.director.ip("addr add 172.16.0.251/24 dev lan")?;
    let standby = Namespace::new("standby")?;
    standby.sysctl("net.ipv4.ip_forward=1")?;
    net.client_network.plug(&standby, &Port { interface: "wan", addresses: &["192.168.0.253/24"] })?;
    net.server_network.plug(&standby, &Port { interface: "lan", addresses: &["172.16.0.252/24"] })?;
    if method == Method::Dr {
        net.accept_vip(Family::V4)?;
    }
    Ok((net, standby))
}
