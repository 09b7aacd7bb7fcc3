//! What a user would pick instead, on the same network under the same load: nftables' DNAT, HAProxy in TCP mode, and no director at
//! all. HTTP requests of wrk through NAT to two real servers, with a connection for each request and with connections that are kept; and
//! datagrams at full speed.

use std::any::Any;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rlvs_testbed::load::{Connections, Wrk};
use rlvs_testbed::{Director, Family, Method, Namespace, Topology, real_server, rlvs};

use crate::datagrams;
use crate::report::{Report, Table, rounded};

const PORT: u16 = 80;
const SERVERS: u8 = 2;
/// How long wrk runs, in seconds.
const SECONDS: u64 = 3;
const TURNS: u32 = 3;

/// Who stands between client and real servers.
#[derive(Clone, Copy, PartialEq)]
enum Peer {
    /// The client asks a real server, and the director's host only routes.
    Routing,
    Nftables,
    Haproxy,
    Rlvs,
}

const PEERS: [(Peer, &str); 4] = [
    (Peer::Routing, "routing only"),
    (Peer::Nftables, "nftables' DNAT"),
    (Peer::Haproxy, "HAProxy, TCP mode"),
    (Peer::Rlvs, "rlvs, NAT"),
];
const LOADS: [Connections; 2] = [Connections::New, Connections::Kept];

/// Measures all of them in turns, on a network made anew for each.
pub fn run() -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "namespaces need root: run `cargo xtask bench --peers` as root"
    );
    let mut figures = PEERS.map(|_| [Vec::new(), Vec::new(), Vec::new()]);
    for turn in 1..=TURNS {
        for ((peer, name), figures) in PEERS.iter().zip(&mut figures) {
            eprintln!("bench: turn {turn} of {TURNS}: {name}");
            let measured = measure(*peer).with_context(|| (*name).to_string())?;
            for (figures, measured) in figures.iter_mut().zip(measured) {
                figures.push(measured);
            }
        }
    }
    let row = |name: &str, loads: &[Vec<Run>]| {
        let values = loads.iter().flat_map(|runs| {
            [
                rounded(middle(runs.iter().map(|run| run.rate)), 0),
                rounded(middle(runs.iter().map(|run| run.cpu)), 1),
            ]
        });
        (name.to_string(), values.collect())
    };
    let of = |loads: std::ops::Range<usize>| {
        let rows = PEERS.iter().zip(&figures).map(|((_, name), figures)| row(name, &figures[loads.clone()]));
        rows.collect::<Vec<_>>()
    };
    let mut datagrams = of(2..3);
    // TCP mode knows no datagrams.
    datagrams.retain(|(_, values): &(String, Vec<f64>)| values[0] > 0.0);
    let http = Table {
        title: "HTTP by wrk through NAT to two real servers, on one machine: a second, and CPU of the whole machine (client and real \
                servers included) for each",
        head: "between them",
        columns: &["connections/s", "CPU, µs", "requests/s on kept connections", "CPU, µs"],
        rows: of(0..2),
    };
    let udp = Table {
        title: "UDP datagrams of 64 octets at full speed, 64 flows through NAT to two real servers, which read none: those that arrive a \
                second, and CPU of the whole machine for each",
        head: "between them",
        columns: &["packets/s", "CPU, µs"],
        rows: datagrams,
    };
    Report { tables: vec![http, udp], ..Report::default() }.publish("bench-peers.json")
}

/// Requests or datagrams a second, and microseconds of CPU for each.
struct Run {
    rate: f64,
    cpu: f64,
}

fn measure(peer: Peer) -> Result<Vec<Run>> {
    let net = Topology::new(Method::Nat, SERVERS)?;
    let mut servers = Vec::new();
    for (host, number) in net.servers.iter().zip(1..) {
        servers.push(real_server::nginx(host, Family::V4.server(number), PORT, &format!("rs{number}"))?);
    }
    let _running = start(peer, &net)?;
    let address = if peer == Peer::Routing { Family::V4.server(1) } else { Family::V4.vip() };
    let mut runs: Vec<Run> = LOADS
        .into_iter()
        .map(|connections| load(&net.client, address, connections))
        .collect::<Result<_>>()?;
    if peer != Peer::Haproxy {
        runs.push(flood(&net, address)?);
    }
    Ok(runs)
}

fn flood(net: &Topology, address: IpAddr) -> Result<Run> {
    let before = busy()?;
    let arrived = datagrams::send(&net.client, (address, PORT), &net.servers, Duration::from_secs(SECONDS))?;
    let used = busy()? - before;
    ensure!(arrived > 0, "no datagram arrived");
    let arrived = arrived as f64;
    Ok(Run { rate: arrived / SECONDS as f64, cpu: used.as_secs_f64() * 1e6 / arrived })
}

fn load(client: &Namespace, address: IpAddr, connections: Connections) -> Result<Run> {
    let before = busy()?;
    let report = Wrk::start(client, address, PORT, connections, SECONDS)?.finish()?;
    let used = busy()? - before;
    ensure!(report.requests > 0, "no request was answered");
    ensure!(report.failed == 0, "{} requests failed", report.failed);
    let requests = report.requests as f64;
    Ok(Run { rate: requests / SECONDS as f64, cpu: used.as_secs_f64() * 1e6 / requests })
}

/// A peer at work, until the value is dropped.
fn start(peer: Peer, net: &Topology) -> Result<Box<dyn Any>> {
    let (host, vip) = (&net.director, Family::V4.vip());
    let servers = || (1..=SERVERS).map(|number| Family::V4.server(number));
    match peer {
        Peer::Routing => {
            net.client.ip("route add 172.16.0.0/24 via 192.168.0.254")?;
            Ok(Box::new(()))
        }
        Peer::Nftables => {
            let map: Vec<String> =
                servers().enumerate().map(|(number, server)| format!("{number} : {server}")).collect();
            let rules = format!(
                "table ip balance {{\n chain in {{\n type nat hook prerouting priority -100;\n ip daddr {vip} \
                 meta l4proto {{ tcp, udp }} th dport {PORT} dnat to numgen inc mod {SERVERS} map {{ {} }}\n}}\n}}\n",
                map.join(", ")
            );
            host.write("/run/bench/rules.nft", &rules)?;
            host.output(&["nft", "-f", "/run/bench/rules.nft"])
                .context("nft with DNAT is needed: install the package nftables")?;
            Ok(Box::new(()))
        }
        Peer::Haproxy => {
            let servers: String = servers()
                .enumerate()
                .map(|(number, server)| format!(" server s{number} {server}:{PORT}\n"))
                .collect();
            let config = format!(
                "global\n maxconn 4000\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
                 listen web\n bind {vip}:{PORT}\n balance roundrobin\n{servers}"
            );
            host.write("/run/bench/haproxy.cfg", &config)?;
            let mut haproxy = host
                .spawn(&["haproxy", "-db", "-f", "/run/bench/haproxy.cfg"])
                .context("HAProxy is needed: install the package haproxy")?;
            let listens = || {
                Ok(host
                    .output(&["ss", "-Hltn", "src", &format!("{vip}:{PORT}")])?
                    .contains("LISTEN")
                    .then_some(()))
            };
            let ready = rlvs_testbed::wait::until(Duration::from_secs(20), listens);
            ensure!(ready.is_ok() && haproxy.is_running(), "HAProxy does not listen: {}", haproxy.stderr());
            Ok(Box::new(haproxy))
        }
        Peer::Rlvs => {
            let director = Director::start(host)?;
            for protocol in ["-t", "-u"] {
                rlvs(host, &format!("ipvsadm -A {protocol} {vip}:{PORT} -s rr"))?;
                for server in servers() {
                    rlvs(host, &format!("ipvsadm -a {protocol} {vip}:{PORT} -r {server}:{PORT} -m"))?;
                }
            }
            Ok(Box::new(director))
        }
    }
}

/// Time in which the machine's CPUs were not idle, from `/proc/stat`.
fn busy() -> Result<Duration> {
    let text = std::fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("cpu "))
        .context("/proc/stat has no line for all CPUs")?;
    // user nice system idle iowait irq softirq steal; the guests' times that follow are in user already.
    let times: Option<Vec<u64>> = line.split_whitespace().take(7).map(|word| word.parse().ok()).collect();
    let times =
        times.filter(|times| times.len() == 7).context("/proc/stat has another form than is known here")?;
    let ticks = times.iter().sum::<u64>() - times[3] - times[4];
    Ok(Duration::from_millis(1000 * ticks / rustix::param::clock_ticks_per_second()))
}

fn middle(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
