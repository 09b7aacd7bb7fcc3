//! A director in a network namespace of its own, with one service for each forwarding method.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rlvs_director::config::Tables;
use rlvs_testbed::{Namespace, Process, rlvs};

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

    fn service(self) -> SocketAddr {
        (self.vip(), PORT).into()
    }
}

const CLIENTS6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 3, 0, 0, 0, 0);

/// Connection tables of so many entries each.
pub fn tables(slots: u32) -> Tables {
    Tables { connections: slots, connections6: slots, ..Tables::default() }
}

/// The director's host: neighbours are fixed, so nobody need answer.
fn make(slots: u32) -> Result<Namespace> {
    let host = Namespace::new("bench")?;
    host.ip("link add lan type veth peer name far
         link set far up
         link set lan up
         addr add 172.16.0.254/24 dev lan
         addr add 2001:db8:0:2::fe/64 dev lan nodad
         neigh add 172.16.0.8 lladdr 02:00:00:00:00:08 dev lan nud permanent
         neigh add 2001:db8:0:2::8 lladdr 02:00:00:00:00:08 dev lan nud permanent
         route add 10.0.0.0/8 via 172.16.0.8
         route add 2001:db8:0:3::/64 via 2001:db8:0:2::8")?;
    for method in METHODS {
        let (server, number) = (method.real_server(), method.number);
        host.ip(&format!("neigh add {server} lladdr 02:00:00:00:00:0{number} dev lan nud permanent"))?;
    }
    host.sysctl("net.ipv4.ip_forward=1")?;
    host.sysctl("net.ipv6.conf.all.forwarding=1")?;
    host.write(CONFIG, &format!("[tables]\nconnections = {slots}\nconnections6 = {slots}\n"))?;
    Ok(host)
}

/// Starts the director; what it was told stays in its tables.
pub fn start_director(host: &Namespace) -> Result<Process> {
    let binary = rlvs_testbed::binary()?;
    let mut director = host.spawn(&[&binary, "run", "--interface", INTERFACE, "--config", CONFIG])?;
    director.wait_for("ready", Duration::from_secs(60))?;
    Ok(director)
}

/// [`make`], with services in the tables that a director has left behind.
pub fn with_services(slots: u32) -> Result<Namespace> {
    ensure!(rustix::process::geteuid().is_root(), "XDP needs root: run `cargo xtask bench` as root");
    let host = make(slots)?;
    let mut director = start_director(&host)?;
    add_services(&host)?;
    // Let it learn the ways to the destinations; then it would only disturb, and the switch does not need it.
    std::thread::sleep(Duration::from_secs(1));
    director.signal(rustix::process::Signal::TERM)?;
    director.wait(Duration::from_secs(10))?;
    Ok(host)
}

/// Types what makes the services.
fn add_services(host: &Namespace) -> Result<()> {
    for method in METHODS {
        let (service, server) = (method.service(), SocketAddr::from((method.real_server(), PORT)));
        rlvs(host, &format!("ipvsadm -A -t {service} -s rr"))?;
        rlvs(host, &format!("ipvsadm -a -t {service} -r {server} {}", method.option))?;
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
