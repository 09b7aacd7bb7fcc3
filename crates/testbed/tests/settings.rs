//! IPVS's sysctls, its files of /proc, the counts of drops, and the defence against floods.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rlvs_testbed::load::{self, Shares};
use rlvs_testbed::{Cluster, Family, Method, Namespace, Process, binary, rlvs, wait};

/// Where the files of /proc are.
const PROC: &str = "/run/rlvs/proc";

/// Settings are read and written in sysctl(8)'s form and as files, and outlive the director's process.
#[test]
#[ignore = "needs root"]
fn settings_survive_a_crash() -> Result<()> {
    let mut cluster = Cluster::start(Method::Nat, Family::V4, 1)?;
    let sysctl = |cluster: &Cluster, words: &str| rlvs(&cluster.net.director, &format!("sysctl {words}"));
    assert_eq!(sysctl(&cluster, "net.ipv4.vs.am_droprate")?, "net.ipv4.vs.am_droprate = 10\n");
    assert_eq!(
        sysctl(&cluster, "-w net.ipv4.vs.am_droprate=7 drop_entry=1")?,
        "net.ipv4.vs.am_droprate = 7\nnet.ipv4.vs.drop_entry = 1\n"
    );
    for wrong in ["drop_entry=4", "conntrack=1", "-w drop_entry"] {
        assert!(sysctl(&cluster, wrong).is_err(), "{wrong}");
    }
    let file = |cluster: &Cluster, name: &str| {
        cluster.net.director.output(&["cat", &format!("{PROC}/sys/net/ipv4/vs/{name}")])
    };
    assert_eq!(file(&cluster, "am_droprate")?, "7\n");
    let echo = |cluster: &Cluster, value: &str, name: &str| {
        let script = format!("echo {value} | tee {PROC}/sys/net/ipv4/vs/{name}");
        cluster.net.director.output(&["sh", "-c", &script])
    };
    echo(&cluster, "'5 60'", "sync_threshold")?;
    assert_eq!(file(&cluster, "sync_threshold")?, "5\t60\n");
    let error = format!("{:#}", echo(&cluster, "4", "secure_tcp").unwrap_err());
    assert!(error.contains("Invalid argument"), "{error}");

    // A crash leaves a mount that nobody serves; the next director replaces it.
    cluster.crash_director()?;
    assert!(file(&cluster, "am_droprate").is_err());
    cluster.start_director()?;
    assert_eq!(file(&cluster, "sync_threshold")?, "5\t60\n");
    assert_eq!(sysctl(&cluster, "-n am_droprate")?, "7\n");
    let all = sysctl(&cluster, "-a")?;
    assert!(all.lines().count() > 20 && all.lines().all(|line| line.starts_with("net.ipv4.vs.")), "{all}");

    cluster.stop_director()?;
    let mounts = cluster.net.director.output(&["cat", "/proc/self/mounts"])?;
    assert!(!mounts.contains(PROC), "{mounts}");
    Ok(())
}

/// The files of /proc show what ipvsadm does, and Prometheus's node exporter reads them as it reads the kernel's.
#[test]
#[ignore = "needs root"]
fn node_exporter_reads_what_ipvsadm_shows() -> Result<()> {
    let mut cluster = Cluster::start(Method::Nat, Family::V4, 2)?;
    cluster.serve_http(2)?;
    load::curl(&cluster.net.client, cluster.family.vip(), 80, 6)?;
    let host = &cluster.net.director;
    let file = |name: &str| host.output(&["cat", &format!("{PROC}/net/{name}")]);

    let listed = cluster.listing()?;
    let shown = file("ip_vs")?;
    assert_eq!(shown.lines().next(), listed.lines().next());
    assert_eq!(shown.lines().count(), listed.lines().count());
    let connections = file("ip_vs_conn")?;
    assert_eq!(connections.lines().count(), 1 + 6, "{connections}");
    assert_eq!(file("ip_vs_conn_sync")?.lines().filter(|line| line.contains(" LOCAL ")).count(), 6);
    let cpus = file("ip_vs_stats_percpu")?;
    assert!(cpus.contains("\n  ~        6 "), "{cpus}");

    let exporter = NodeExporter::start(host)?;
    // "TCP 10.1.0.1:80  Conns InPkts OutPkts InBytes OutBytes"
    let stats = cluster.ipvsadm("-L -n --stats --exact")?;
    let line = stats.lines().find(|line| line.starts_with("TCP")).context("no service in --stats")?;
    let numbers: Vec<f64> = line.split_whitespace().skip(2).map(str::parse).collect::<Result<_, _>>()?;
    let metrics = exporter.metrics()?;
    let [connections, packets_in, packets_out, octets_in, octets_out] = numbers[..] else {
        anyhow::bail!("not five numbers: {line}")
    };
    assert!(connections == 6.0 && octets_out > 0.0 && packets_in > 0.0 && packets_out > 0.0, "{line}");
    assert_eq!(metric(&metrics, "node_ipvs_connections_total")?, [connections]);
    assert_eq!(metric(&metrics, "node_ipvs_incoming_packets_total")?, [packets_in]);
    assert_eq!(metric(&metrics, "node_ipvs_outgoing_packets_total")?, [packets_out]);
    assert_eq!(metric(&metrics, "node_ipvs_incoming_bytes_total")?, [octets_in]);
    assert_eq!(metric(&metrics, "node_ipvs_outgoing_bytes_total")?, [octets_out]);
    let (one, two) = (cluster.connections(1, 80)?, cluster.connections(2, 80)?);
    let sum = |values: Vec<f64>| values.into_iter().sum::<f64>();
    let active = f64::from(one.0 + two.0);
    let inactive = f64::from(one.1 + two.1);
    assert_eq!(sum(metric(&metrics, "node_ipvs_backend_connections_active")?), active);
    assert_eq!(sum(metric(&metrics, "node_ipvs_backend_connections_inactive")?), inactive);
    assert_eq!(metric(&metrics, "node_ipvs_backend_weight")?, [1.0, 1.0]);
    Ok(())
}

/// More SYNs than the table has room for, each from another source: who is connected stays so, the flood's entries
/// make room, and `drop_packet` and `drop_entry` do what they are told.
#[test]
#[ignore = "needs root"]
fn established_connections_survive_a_flood() -> Result<()> {
    let mut cluster = Cluster::start(Method::Nat, Family::V4, 1)?;
    cluster.stop_director()?;
    rlvs(&cluster.net.director, "detach")?;
    let host = &cluster.net.director;
    host.write("/run/small.toml", "[tables]\nconnections = 1024\n[sysctl]\nam_droprate = 2\n")?;
    let binary = binary()?;
    let words = [&binary, "run", "--config", "/run/small.toml", "--interface", "wan", "--interface", "lan"];
    let mut director = host.spawn(&words)?;
    director.wait_for("ready", Duration::from_secs(120))?;
    cluster.serve_http(1)?;
    let host = &cluster.net.director;
    let vip = cluster.family.vip();
    let std::net::IpAddr::V4(address) = vip else { anyhow::bail!("not IPv4") };

    // A connection that sends nothing for now.
    let client = &cluster.net.client;
    let held = client.run(move || Ok(std::net::TcpStream::connect((vip, 80))?))?;
    wait::until(Duration::from_secs(10), || Ok((cluster.connections(1, 80)?.0 >= 1).then_some(())))?;
    flood(client, address, 6000)?;
    let drops = rlvs(host, "drops")?;
    let evicted = count(&drops, "evicted: embryonic")?;
    assert!(evicted > 1000, "{drops}");
    let answer = client.run(move || {
        use std::io::{Read, Write};
        let mut held = held;
        held.set_read_timeout(Some(Duration::from_secs(10)))?;
        held.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        held.read_to_string(&mut answer)?;
        Ok(answer)
    })?;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    // Others still get through, and do while entries are taken out at random.
    assert_eq!(load::curl(client, vip, 80, 3)?, Shares::from([("rs1".into(), 3)]));
    let full = cluster.connections(1, 80)?.0;
    rlvs(host, "sysctl -q drop_entry=3")?;
    wait::until(Duration::from_secs(60), || Ok((cluster.connections(1, 80)?.0 < full / 2).then_some(())))?;
    rlvs(host, "sysctl -q drop_entry=0 drop_packet=3")?;
    flood(client, address, 1000)?;
    let dropped = count(&rlvs(host, "drops")?, "dropped: one in drop_rate")?;
    assert!((400..=600).contains(&dropped), "of 1000 with a rate of 2: {dropped}");
    let json = rlvs(host, "drops --json")?;
    assert!(json.contains(&format!("\"count\": {dropped}")), "{json}");
    drop(director);
    Ok(())
}

/// Whoever watches sees each dropped packet's ends and why it was dropped; nothing is copied before and after.
#[test]
#[ignore = "needs root"]
fn dropped_packets_can_be_watched() -> Result<()> {
    let cluster = Cluster::start(Method::Nat, Family::V4, 1)?;
    cluster.add_service("-t", 80, 0)?;
    let (host, vip) = (&cluster.net.director, cluster.family.vip());
    let std::net::IpAddr::V4(address) = vip else { anyhow::bail!("not IPv4") };
    // Nobody watches yet.
    flood(&cluster.net.client, address, 1)?;
    let mut watch = host.spawn(&[&binary()?, "drops", "--watch"])?;
    watch.wait_for("PROTOCOL", Duration::from_secs(30))?;
    let before = watch.stdout();
    assert_eq!(before.lines().count(), 1, "{before}");
    flood(&cluster.net.client, address, 3)?;
    for number in 0..3 {
        let line = format!(
            "TCP 198.18.0.{number}:{} {vip}:80 dropped: service without an available destination",
            1024 + number
        );
        watch.wait_for(&line, Duration::from_secs(30))?;
    }
    drop(watch);

    let json = host.spawn(&[&binary()?, "drops", "--watch", "--json"])?;
    wait::until(Duration::from_secs(30), || {
        flood(&cluster.net.client, address, 1)?;
        Ok(json.stdout().contains("NoDestination").then_some(()))
    })?;
    let line = json.stdout();
    let line = line.lines().next().unwrap_or_default();
    assert!(line.contains(r#""source":"198.18.0.0","source_port":1024"#), "{line}");
    Ok(())
}

/// The count in front of some words of `rlvs drops`.
fn count(drops: &str, words: &str) -> Result<u32> {
    let line =
        drops.lines().find(|line| line.contains(words)).with_context(|| format!("no {words}: {drops}"))?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
}

/// Sends SYNs to port 80, each from another address and port that nobody has.
fn flood(client: &Namespace, to: Ipv4Addr, packets: u32) -> Result<()> {
    client.run(move || {
        use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};
        let socket = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW))?;
        let target = std::net::SocketAddrV4::new(to, 0);
        for number in 0..packets {
            let packet = syn(Ipv4Addr::from(0xc612_0000 + number), 1024 + (number % 50_000) as u16, to);
            sendto(&socket, &packet, SendFlags::empty(), &target)?;
            if number % 200 == 0 {
                // No faster than two busy processors take them in.
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(())
    })
}

/// An IPv4 packet with a SYN; the kernel fills in the IP header's length and checksum, and nobody reads TCP's.
fn syn(from: Ipv4Addr, port: u16, to: Ipv4Addr) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(port.to_be_bytes());
    packet.extend(80u16.to_be_bytes());
    packet.extend([0; 8]);
    packet.extend([0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    packet
}

/// Prometheus's node exporter with the collector for IPVS alone.
struct NodeExporter<'a> {
    host: &'a Namespace,
    _process: Process,
}

impl<'a> NodeExporter<'a> {
    const ADDRESS: &'static str = "127.0.0.1:9100";

    fn start(host: &'a Namespace) -> Result<Self> {
        let process = host.spawn(&[
            "prometheus-node-exporter",
            "--collector.disable-defaults",
            "--collector.ipvs",
            &format!("--path.procfs={PROC}"),
            &format!("--web.listen-address={}", Self::ADDRESS),
        ])?;
        let exporter = NodeExporter { host, _process: process };
        wait::until_ok(Duration::from_secs(30), || exporter.metrics())?;
        Ok(exporter)
    }

    fn metrics(&self) -> Result<String> {
        let url = format!("http://{}/metrics", Self::ADDRESS);
        let metrics = self.host.output(&["curl", "-sS", "-f", "-m", "10", &url])?;
        let works = "node_scrape_collector_success{collector=\"ipvs\"} 1";
        ensure!(metrics.contains(works), "its collector for IPVS failed: {metrics}");
        Ok(metrics)
    }
}

/// The values of a metric, whatever its labels.
fn metric(metrics: &str, name: &str) -> Result<Vec<f64>> {
    let of_name = |line: &&str| line.split(['{', ' ']).next() == Some(name);
    let values = metrics.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next());
    let values = values.map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    ensure!(!values.is_empty(), "no {name}: {metrics}");
    Ok(values)
}
