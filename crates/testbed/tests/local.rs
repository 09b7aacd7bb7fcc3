//! The director itself as real server of NAT, and as client of its virtual services.

use anyhow::{Context, Result};
use rlvs_testbed::load::{self, Shares};
use rlvs_testbed::real_server::{self, LARGE, LARGE_TEXT};
use rlvs_testbed::{Cluster, Family, Method, Namespace, Process, rlvs, with_port};

/// The director's own address on the servers' network.
fn own(family: Family) -> std::net::IpAddr {
    family.server(254)
}

/// Makes the director one more real server of VIP:80 and VIP:53, called `director`.
fn serve_here(cluster: &Cluster) -> Result<[Process; 2]> {
    let (host, own) = (&cluster.net.director, own(cluster.family));
    for (option, port) in [("-t", 80), ("-u", 53)] {
        let (service, server) = (cluster.service(port), with_port(own, port));
        cluster.ipvsadm(&format!("-a {option} {service} -r {server} -m"))?;
    }
    Ok([real_server::nginx(host, own, 80, "director")?, real_server::dnsmasq(host, own, "director")?])
}

/// The whole of what nginx has at `/large`.
fn download(client: &Namespace, cluster: &Cluster) -> Result<()> {
    let url = format!("http://{}/large", with_port(cluster.family.vip(), 80));
    let large = client.output(&["curl", "-sS", "-f", "-m", "20", &url])?;
    assert_eq!(large.len(), LARGE, "{:?}, {}", cluster.family, client.name());
    Ok(())
}

/// An answer in fragments.
fn large_answer(client: &Namespace, cluster: &Cluster) -> Result<()> {
    let server = format!("@{}", cluster.family.vip());
    let words =
        ["dig", "+short", "+tries=1", "+time=3", "+bufsize=4096", "+ignore", "TXT", "large.test", &server];
    let answer = client.output(&words)?;
    let characters = answer.chars().filter(|c| *c == 'x').count();
    assert_eq!(characters, LARGE_TEXT, "{:?}, {}: {answer}", cluster.family, client.name());
    Ok(())
}

/// Each of three servers, one of which is the director, serves the client and the director, over TCP and UDP; also while
/// no director's process runs, and after the next one has taken over.
#[test]
#[ignore = "needs root"]
fn the_director_serves_and_asks_with_nat() -> Result<()> {
    for family in Family::ALL {
        let mut cluster = Cluster::start(Method::Nat, family, 2)?;
        cluster.serve_http(2)?;
        cluster.serve_dns()?;
        let _here = serve_here(&cluster)?;
        let vip = family.vip();
        let thirds = Shares::from([("director".into(), 2), ("rs1".into(), 2), ("rs2".into(), 2)]);
        for stage in ["with", "without", "with the next"] {
            match stage {
                "without" => cluster.crash_director()?,
                "with the next" => cluster.start_director()?,
                _ => {}
            }
            for client in [&cluster.net.client, &cluster.net.director] {
                let asked = || format!("{family:?}, from {}, {stage} director", client.name());
                assert_eq!(load::curl(client, vip, 80, 6).with_context(asked)?, thirds, "{}", asked());
                assert_eq!(load::dig(client, vip, 6).with_context(asked)?, thirds, "{}", asked());
                for _ in 0..3 {
                    download(client, &cluster).with_context(asked)?;
                    large_answer(client, &cluster).with_context(asked)?;
                }
            }
        }
    }
    Ok(())
}

/// With direct routing the answers of a server come straight to the client on the director, with the VIP as their source,
/// which the kernel takes over IPv4 if it is told to (as with IPVS).
#[test]
#[ignore = "needs root"]
fn the_director_asks_with_direct_routing() -> Result<()> {
    for family in Family::ALL {
        let mut cluster = Cluster::start(Method::Dr, family, 2)?;
        cluster.serve_http(2)?;
        let host = &cluster.net.director;
        host.sysctl("net.ipv4.conf.wan.accept_local=1")?;
        let source = family.on_client_network(254).to_string();
        let url = format!("http://{}/", with_port(family.vip(), 80));
        let mut answers = Vec::new();
        for _ in 0..4 {
            answers.push(host.output(&["curl", "-sS", "-f", "-m", "10", "--interface", &source, &url])?);
        }
        answers.sort();
        assert_eq!(answers, ["rs1\n", "rs1\n", "rs2\n", "rs2\n"], "{family:?}");
    }
    Ok(())
}

/// What the director sends gets marks by the same rules; those that name an interface are about what comes by it.
#[test]
#[ignore = "needs root"]
fn the_director_asks_by_mark() -> Result<()> {
    for family in Family::ALL {
        let cluster = Cluster::start(Method::Nat, family, 2)?;
        let service = if family == Family::V4 { "-f 7" } else { "-f 7 -6" };
        let mut servers = Vec::new();
        cluster.ipvsadm(&format!("-A {service} -s rr"))?;
        for (host, number) in cluster.net.servers.iter().zip(1..) {
            let address = family.server(number);
            servers.push(real_server::nginx(host, address, 81, &format!("rs{number}"))?);
            cluster.ipvsadm(&format!("-a {service} -r {address} -m"))?;
        }
        let (host, vip) = (&cluster.net.director, family.vip());
        let mark =
            |rule: &str| rlvs(host, &format!("mark {rule} -p tcp -d {vip} --destination-port 81 --mark 7"));
        mark("add -i wan")?;
        assert!(load::curl(host, vip, 81, 1).is_err(), "{family:?}: it does not come by wan");
        let halves = |times| Shares::from([("rs1".into(), times), ("rs2".into(), times)]);
        assert_eq!(load::curl(&cluster.net.client, vip, 81, 2)?, halves(1), "{family:?}");
        mark("add")?;
        assert_eq!(load::curl(host, vip, 81, 4)?, halves(2), "{family:?}");
    }
    Ok(())
}

/// A client on the director is told as others are that nobody takes its connection.
#[test]
#[ignore = "needs root"]
fn the_director_is_refused_where_there_is_no_real_server() -> Result<()> {
    for family in Family::ALL {
        let cluster = Cluster::start(Method::Nat, family, 0)?;
        cluster.add_service("-t", 80, 0)?;
        let error = load::curl(&cluster.net.director, family.vip(), 80, 1).unwrap_err();
        let error = format!("{error:#}");
        // Its own kernel would have said the same; so the switch is asked.
        assert!(error.contains("Couldn't connect") || error.contains("Failed to connect"), "{error}");
        let drops = rlvs(&cluster.net.director, "drops")?;
        let line = drops.lines().find(|line| line.contains("destination")).unwrap_or_default();
        assert!(!line.trim_start().starts_with('0') && !line.is_empty(), "{drops}");
    }
    Ok(())
}

/// Nothing is in the way of the director's packets while there is no service, and nothing is left by `rlvs detach`.
#[test]
#[ignore = "needs root"]
fn the_way_into_the_switch_comes_and_goes() -> Result<()> {
    let mut cluster = Cluster::start(Method::Nat, Family::V4, 1)?;
    for (change, there) in
        [(None, false), (Some("-A -f 7 -s rr"), true), (Some("-C"), false), (Some("-A -f 7"), true)]
    {
        if let Some(change) = change {
            cluster.ipvsadm(change)?;
        }
        for interface in ["lo", "wan", "lan"] {
            let filters =
                cluster.net.director.output(&["tc", "filter", "show", "dev", interface, "egress"])?;
            assert_eq!(filters.contains("local_out"), there, "{change:?}, {interface}: {filters}");
        }
    }
    cluster.stop_director()?;
    let host = &cluster.net.director;
    rlvs(host, "detach")?;
    let left = host.output(&["tc", "qdisc", "show"])? + &host.output(&["ip", "link"])?;
    assert!(!left.contains("clsact") && !left.contains("rlvs"), "{left}");
    Ok(())
}
