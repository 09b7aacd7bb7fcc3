//! Two directors, three real servers and a configuration for both.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Result, ensure};
use rlvs_testbed::{FILE, Family, Method, Namespace, Pair, Process, Side, real_server, rlvs, wait};
use rustix::process::Signal;

/// Real servers.
pub const SERVERS: u8 = 3;

/// How long it may take until everything is as it should be again.
const LIMIT: Duration = Duration::from_secs(60);

/// What the events happen to.
pub struct Scene {
    clusters: [Option<Process>; 2],
    servers: Vec<Process>,
    _dns: Vec<Process>,
    /// Hosts and directors.
    pub pair: Pair,
    interval: Duration,
    preempt: bool,
}

impl Scene {
    /// Starts everything; the first director is master.
    pub fn start(method: Method, interval: Duration) -> Result<Self> {
        let pair = Pair::start(method, SERVERS)?;
        let (mut servers, mut dns) = (Vec::new(), Vec::new());
        for number in 1..=SERVERS {
            let host = &pair.net.servers[usize::from(number) - 1];
            let name = format!("rs{number}");
            servers.push(real_server::nginx(host, listen_address(&pair, number), 80, &name)?);
            dns.push(real_server::dnsmasq(host, pair.net.listen_address(Family::V4, number), &name)?);
        }
        let mut scene = Self { clusters: [None, None], servers, _dns: dns, pair, interval, preempt: true };
        scene.pair.start_daemons("")?;
        for side in Side::BOTH {
            scene.start_cluster(side)?;
        }
        Ok(scene)
    }

    /// The client's host.
    pub fn client(&self) -> &Namespace {
        &self.pair.net.client
    }

    /// Waits until this one is master, and has all real servers in its table.
    pub fn settle(&self, master: Side) -> Result<()> {
        self.pair.wait_for_master(master)?;
        wait::until_ok(LIMIT, || {
            let listing = rlvs(self.pair.host(master), "ipvsadm -L -n")?;
            let servers = listing.matches("172.16.0.").count();
            ensure!(servers == 2 * usize::from(SERVERS), "{master:?}: {listing}");
            Ok(())
        })?;
        // Connections of the event before come to their end.
        std::thread::sleep(Duration::from_secs(1));
        Ok(())
    }

    /// Starts `rlvs cluster`.
    pub fn start_cluster(&mut self, side: Side) -> Result<()> {
        self.clusters[side as usize] = Some(self.pair.cluster(side, &self.file(side))?);
        Ok(())
    }

    /// Ends it as a service manager does.
    pub fn stop_cluster(&mut self, side: Side) -> Result<()> {
        if let Some(mut cluster) = self.clusters[side as usize].take() {
            cluster.signal(Signal::TERM)?;
            cluster.wait(LIMIT)?;
        }
        Ok(())
    }

    /// Whether a director that comes back takes over, from now on.
    pub fn set_preempt(&mut self, preempt: bool) -> Result<()> {
        self.preempt = preempt;
        for side in Side::BOTH {
            self.pair.host(side).write(FILE, &self.file(side))?;
            if let Some(cluster) = &mut self.clusters[side as usize] {
                cluster.signal(Signal::HUP)?;
            }
        }
        Ok(())
    }

    /// The first real server's nginx.
    pub fn first_server(&mut self) -> &mut Process {
        &mut self.servers[0]
    }

    /// Starts it again.
    pub fn start_first_server(&mut self) -> Result<()> {
        let address = listen_address(&self.pair, 1);
        self.servers[0] = real_server::nginx(&self.pair.net.servers[0], address, 80, "rs1")?;
        Ok(())
    }

    /// Whether the first director has the first real server in its table for HTTP.
    pub fn has_first_server(&self) -> Result<bool> {
        Ok(rlvs(&self.pair.net.director, "ipvsadm -L -n -t 192.168.0.1:80")?.contains("172.16.0.1:80"))
    }

    fn file(&self, side: Side) -> String {
        let forward = if self.pair.net.method() == Method::Nat { "nat" } else { "direct" };
        let servers =
            (1..=SERVERS).map(|number| format!("{{ address = \"{}\" }}", Family::V4.server(number)));
        let servers = servers.collect::<Vec<_>>().join(", ");
        let mut file = String::new();
        for (service, check) in [
            (
                "tcp = \"192.168.0.1:80\"",
                "check = { type = \"http\", interval = \"200ms\", timeout = \"200ms\" }\n",
            ),
            ("udp = \"192.168.0.1:53\"", ""),
        ] {
            // Writing to a string does not fail.
            let _ = write!(
                file,
                "[[service]]\n{service}\nscheduler = \"rr\"\nforward = \"{forward}\"\n{check}server = [{servers}]\n"
            );
        }
        file + &self.pair.routers(side, self.interval, self.preempt)
    }
}

/// Where nginx listens: where clients come to, and where the checks do.
fn listen_address(pair: &Pair, number: u8) -> IpAddr {
    match pair.net.method() {
        Method::Nat => pair.net.listen_address(Family::V4, number),
        _ => Ipv4Addr::UNSPECIFIED.into(),
    }
}
