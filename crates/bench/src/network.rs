//! A director in a network namespace of its own, with one service for each forwarding method.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result};
use rlvs_testbed::{Namespace, Process, rlvs};

/// Entries of the connection table.
pub const SLOTS: u32 = 1 << 22;
/// The interface that frames seem to come in by.
pub const INTERFACE: &str = "lan";
pub const PORT: u16 = 80;
pub const CONFIG: &str = "/run/rlvs/bench.toml";

/// A forwarding method, with its service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Method {
    pub name: &'static str,
    option: &'static str,
    number: u8,
}

pub const DR: Method = Method { name: "DR", option: "-g", number: 1 };
pub const NAT: Method = Method { name: "NAT", option: "-m", number: 2 };
pub const TUN: Method = Method { name: "TUN", option: "-i", number: 3 };

impl Method {
    pub fn vip(self) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, 0, self.number)
    }

    pub fn real_server(self) -> Ipv4Addr {
        Ipv4Addr::new(172, 16, 0, self.number)
    }
}

/// The director's host: neighbours are fixed, so nobody need answer.
pub fn make() -> Result<Namespace> {
    let host = Namespace::new("bench")?;
    host.ip("link add lan type veth peer name far
         link set far up
         link set lan up
         addr add 172.16.0.254/24 dev lan
         neigh add 172.16.0.1 lladdr 02:00:00:00:00:01 dev lan nud permanent
         neigh add 172.16.0.2 lladdr 02:00:00:00:00:02 dev lan nud permanent
         neigh add 172.16.0.3 lladdr 02:00:00:00:00:03 dev lan nud permanent
         neigh add 172.16.0.8 lladdr 02:00:00:00:00:08 dev lan nud permanent
         route add 10.0.0.0/8 via 172.16.0.8")?;
    host.sysctl("net.ipv4.ip_forward=1")?;
    host.write(CONFIG, &format!("[tables]\nconnections = {SLOTS}\n"))?;
    Ok(host)
}

/// Starts the director; what it was told stays in its tables.
pub fn start_director(host: &Namespace) -> Result<Process> {
    let binary = rlvs_testbed::binary()?;
    let mut director = host.spawn(&[&binary, "run", "--interface", INTERFACE, "--config", CONFIG])?;
    director.wait_for("ready", Duration::from_secs(60))?;
    Ok(director)
}

/// Types what makes the services.
pub fn add_services(host: &Namespace) -> Result<()> {
    for method in [DR, NAT, TUN] {
        let (vip, real_server) = (method.vip(), method.real_server());
        rlvs(host, &format!("ipvsadm -A -t {vip}:{PORT} -s rr"))?;
        rlvs(host, &format!("ipvsadm -a -t {vip}:{PORT} -r {real_server}:{PORT} {}", method.option))?;
    }
    Ok(())
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
