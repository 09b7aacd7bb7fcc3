//! A director in a network namespace of its own, with one service for each forwarding method.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rlvs_director::config::Tables;
use rlvs_testbed::{Namespace, Process};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::lab::Lab;

/// The interface that frames seem to come in by.
pub const INTERFACE: &str = "lan";
/// The other end of its cable.
pub const FAR: &str = "far";
pub const PORT: u16 = 80;
const CONFIG: &str = "/run/rlvs/bench.toml";
const RULES: &str = "/run/rlvs/bench.rules";

/// A forwarding method, with its service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Method {
    pub name: &'static str,
    option: &'static str,
    number: u8,
    /// Its service is IPv6's.
    pub six: bool,
}

pub const DR: Method = Method { name: "DR", option: "-g", number: 1, six: false };
pub const NAT: Method = Method { name: "NAT", option: "-m", number: 2, six: false };
pub const TUN: Method = Method { name: "TUN", option: "-i", number: 3, six: false };
pub const DR6: Method = Method { name: "IPv6 DR", six: true, ..DR };
pub const NAT6: Method = Method { name: "IPv6 NAT", six: true, ..NAT };
pub const TUN6: Method = Method { name: "IPv6 TUN", six: true, ..TUN };
pub const METHODS: [Method; 6] = [DR, TUN, NAT, DR6, TUN6, NAT6];

impl Method {
    pub fn vip(self) -> IpAddr {
        self.address([192, 168, 0], 1)
    }

    pub fn real_server(self) -> IpAddr {
        self.address([172, 16, 0], 2)
    }

    /// Where the clients are; the shim writes the address's end.
    pub fn clients(self) -> IpAddr {
        if self.six { CLIENTS6.into() } else { Ipv4Addr::UNSPECIFIED.into() }
    }

    pub fn is_nat(self) -> bool {
        self.number == NAT.number
    }

    pub fn is_tunnel(self) -> bool {
        self.number == TUN.number
    }

    fn address(self, [a, b, c]: [u8; 3], network: u16) -> IpAddr {
        match self.six {
            false => Ipv4Addr::new(a, b, c, self.number).into(),
            true => Ipv6Addr::new(0x2001, 0xdb8, 0, network, 0, 0, 0, self.number.into()).into(),
        }
    }

    /// Its service and real server, as `ipvsadm -S` prints them.
    pub fn rules(self) -> String {
        let [service, server] = [self.vip(), self.real_server()].map(|at| SocketAddr::from((at, PORT)));
        format!("-A -t {service} -s rr\n-a -t {service} -r {server} {}\n", self.option)
    }
}

const CLIENTS6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 3, 0, 0, 0, 0);

/// Connection tables of so many entries each.
pub fn tables(slots: u32) -> Tables {
    Tables { connections: slots, connections6: slots, ..Tables::default() }
}

/// The director's host, and the one at the other end of its cable.
pub struct Network {
    pub director: Namespace,
    pub far: Namespace,
    pub tables: Tables,
}

impl Network {
    /// A director's host whose tables have a service for each forwarding method, and those of `rules`, in the form of `ipvsadm -S`.
    pub fn with_services(tables: Tables, rules: &str) -> Result<Network> {
        ensure!(rustix::process::geteuid().is_root(), "XDP needs root: run `cargo xtask bench` as root");
        let network = Network::make(tables)?;
        let mut director = network.start_director()?;
        let methods: String = METHODS.iter().map(|method| method.rules()).collect();
        network.restore(&(methods + rules))?;
        // Let it learn the ways to the destinations; then it would only disturb, and the switch does not need it.
        std::thread::sleep(Duration::from_secs(1));
        stop(&mut director)?;
        Ok(network)
    }

    /// Neighbours are fixed, so nobody need answer.
    fn make(tables: Tables) -> Result<Network> {
        let (director, far) = (Namespace::new("bench")?, Namespace::new("far")?);
        far.sysctl("net.ipv6.conf.default.disable_ipv6=1")?;
        director.ip(&format!("link add {INTERFACE} type veth peer name {FAR} netns {}", far.path()))?;
        far.ip(&format!("link set {FAR} up"))?;
        director.ip("link set lan up
             addr add 172.16.0.254/24 dev lan
             addr add 2001:db8:0:2::fe/64 dev lan nodad
             neigh add 172.16.0.8 lladdr 02:00:00:00:00:08 dev lan nud permanent
             neigh add 2001:db8:0:2::8 lladdr 02:00:00:00:00:08 dev lan nud permanent
             route add 10.0.0.0/8 via 172.16.0.8
             route add 172.20.0.0/14 via 172.16.0.8
             route add 2001:db8:0:3::/64 via 2001:db8:0:2::8")?;
        for method in METHODS {
            let (server, number) = (method.real_server(), method.number);
            director
                .ip(&format!("neigh add {server} lladdr 02:00:00:00:00:0{number} dev lan nud permanent"))?;
        }
        director.sysctl("net.ipv4.ip_forward=1")?;
        director.sysctl("net.ipv6.conf.all.forwarding=1")?;
        let Tables { connections, connections6, services, destinations } = &tables;
        let config = format!(
            "[tables]\nconnections = {connections}\nconnections6 = {connections6}\nservices = {services}\n\
             destinations = {destinations}\n"
        );
        director.write(CONFIG, &config)?;
        Ok(Network { director, far, tables })
    }

    /// Starts the director; what it was told stays in its tables.
    pub fn start_director(&self) -> Result<Process> {
        let binary = rlvs_testbed::binary()?;
        let words = [&binary, "run", "--interface", INTERFACE, "--config", CONFIG];
        let mut director = self.director.spawn(&words)?;
        director.wait_for("ready", Duration::from_secs(120))?;
        Ok(director)
    }

    /// Gives the running director what `ipvsadm -S` would print; the time that it took.
    pub fn restore(&self, rules: &str) -> Result<Duration> {
        self.director.write(RULES, rules)?;
        let script = format!("exec {} ipvsadm -R < {RULES}", rlvs_testbed::binary()?);
        let start = Instant::now();
        let done = self.director.spawn(&["sh", "-c", &script])?.finish(Duration::from_secs(300))?;
        let took = start.elapsed();
        ensure!(done.status.success(), "`ipvsadm -R` fails ({}): {}", done.status, done.stderr.trim());
        Ok(took)
    }

    /// Runs `job` on the director's host with the programs for measurement, on CPU 1.
    pub fn measure<T: Send + 'static>(
        &self,
        kernel_table: u32,
        job: impl FnOnce(Lab) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let tables = self.tables.clone();
        self.director.run(move || {
            if stay_on(1).is_err() {
                eprintln!("bench: there is no CPU 1 to stay on");
            }
            job(Lab::open(tables, kernel_table)?)
        })
    }
}

/// Ends a director; its data plane stays.
pub fn stop(director: &mut Process) -> Result<()> {
    director.signal(rustix::process::Signal::TERM)?;
    director.wait(Duration::from_secs(10))?;
    Ok(())
}

/// Keeps this thread on a CPU.
pub fn stay_on(cpu: usize) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus).with_context(|| format!("there is no CPU {cpu} to stay on"))
}

/// CPU time that a process has taken, from `/proc/PID/stat`.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The name before the parenthesis may have spaces; user and system time are the 14th and 15th field.
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().with_context(|| format!("{path}: `{field}` is no number")))
        .sum::<Result<u64>>()?;
    Ok(Duration::from_millis(1000 * ticks / rustix::param::clock_ticks_per_second()))
}
