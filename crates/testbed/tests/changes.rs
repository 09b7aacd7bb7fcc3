//! Services change while clients are being served: nobody but the operator notices.

use std::time::Duration;

use anyhow::{Context, Result};
use rlvs_testbed::load::{self, Connections, Shares, Wrk};
use rlvs_testbed::{Cluster, Family, Method, wait};

/// Seconds of load around the changes, which take a small part of it: what they break later is seen too.
const LOAD: u64 = 4;

/// Weights, schedulers and new servers touch no connection that exists.
#[test]
#[ignore = "needs root"]
fn kept_connections_survive_every_change_but_the_loss_of_their_server() -> Result<()> {
    for method in Method::ALL {
        let mut cluster = Cluster::start(method, Family::V4, 3)?;
        cluster.serve_http(2)?;
        let vip = cluster.family.vip();
        let wrk = Wrk::start(&cluster.net.client, vip, 80, Connections::Kept, LOAD)?;
        wait_for_connections(&cluster, 1)?;

        let (service, option) = (cluster.service(80), method.option());
        let server = |number| cluster.server(number, 80);
        for change in [
            format!("-a -t {service} -r {} {option} -w 3", server(3)),
            format!("-e -t {service} -r {} {option} -w 0", server(1)),
            format!("-E -t {service} -s wlc"),
            format!("-e -t {service} -r {} {option} -w 2", server(1)),
            format!("-E -t {service} -s rr"),
            format!("-A -u {service} -s rr"),
            format!("-D -u {service}"),
        ] {
            cluster.ipvsadm(&change)?;
        }
        let report = wrk.finish()?;
        assert!(report.failed == 0 && report.requests > 10, "{method:?}: {report:?}");
        let thirds = Shares::from(["rs1", "rs2", "rs3"].map(|name| (name.into(), 3)));
        assert_eq!(load::curl(&cluster.net.client, vip, 80, 9)?, thirds);
    }
    Ok(())
}

/// `-Z` with a service zeroes that one and leaves others and the total; `-Z` alone zeroes everything.
#[test]
#[ignore = "needs root"]
fn counters_are_zeroed_of_one_service_or_of_all() -> Result<()> {
    let mut cluster = Cluster::start(Method::Nat, Family::V4, 2)?;
    cluster.serve_http(2)?;
    cluster.serve_dns()?;
    load::curl(&cluster.net.client, cluster.family.vip(), 80, 4)?;
    load::dig(&cluster.net.client, cluster.family.vip(), 6)?;
    // Connections of a service and of its servers; a service's line has an address, its server's come after it.
    let counted = |protocol: &str| -> Result<Vec<u64>> {
        let listing = cluster.ipvsadm("-L -n --stats --exact")?;
        let lines = listing.lines().skip_while(|line| !line.starts_with(protocol));
        let column =
            |line: &str, number| line.split_whitespace().nth(number).and_then(|word| word.parse().ok());
        Ok(lines.take(3).filter_map(|line| column(line, 2)).collect())
    };
    let total = || -> Result<u64> {
        let file = cluster.net.director.output(&["cat", "/run/rlvs/proc/net/ip_vs_stats"])?;
        let connections =
            file.lines().nth(2).and_then(|line| line.split_whitespace().next()).context("no total")?;
        Ok(u64::from_str_radix(connections, 16)?)
    };
    assert_eq!((counted("TCP")?, counted("UDP")?, total()?), (vec![4, 2, 2], vec![6, 3, 3], 10));
    cluster.ipvsadm(&format!("-Z -t {}", cluster.service(80)))?;
    assert_eq!((counted("TCP")?, counted("UDP")?, total()?), (vec![0; 3], vec![6, 3, 3], 10));
    load::curl(&cluster.net.client, cluster.family.vip(), 80, 2)?;
    assert_eq!((counted("TCP")?, total()?), (vec![2, 1, 1], 12));
    cluster.ipvsadm("-Z")?;
    assert_eq!((counted("TCP")?, counted("UDP")?, total()?), (vec![0; 3], vec![0; 3], 0));
    Ok(())
}

/// A server leaves as operators let it leave: weight 0, wait until its connections are done, delete.
#[test]
#[ignore = "needs root"]
fn servers_come_and_go_without_a_failed_request() -> Result<()> {
    for method in Method::ALL {
        let mut cluster = Cluster::start(method, Family::V4, 3)?;
        cluster.serve_http(2)?;
        let vip = cluster.family.vip();
        let wrk = Wrk::start(&cluster.net.client, vip, 80, Connections::New, LOAD)?;
        wait_for_connections(&cluster, 1)?;

        let (service, option) = (cluster.service(80), method.option());
        cluster.ipvsadm(&format!("-a -t {service} -r {} {option}", cluster.server(3, 80)))?;
        wait_for_connections(&cluster, 3)?;
        cluster.ipvsadm(&format!("-e -t {service} -r {} {option} -w 0", cluster.server(1, 80)))?;
        // With direct routing and tunnelling the director sees one direction: what is left is closing, not active.
        wait::until(Duration::from_secs(10), || Ok((cluster.connections(1, 80)?.0 == 0).then_some(())))?;
        cluster.ipvsadm(&format!("-d -t {service} -r {}", cluster.server(1, 80)))?;

        let report = wrk.finish()?;
        assert!(report.failed == 0 && report.requests > 10, "{method:?}: {report:?}");
        // Not by halves: a client's port that comes round again finds its closing connection, and its server.
        let answers = load::curl(&cluster.net.client, vip, 80, 12)?;
        assert!(
            answers.keys().all(|name| ["rs2", "rs3"].contains(&name.as_str())),
            "{method:?}: {answers:?}"
        );
    }
    Ok(())
}

/// A server whose cable is pulled costs its own connections only, and none after it is taken out.
#[test]
#[ignore = "needs root"]
fn a_vanished_server_is_taken_out() -> Result<()> {
    let mut cluster = Cluster::start(Method::Nat, Family::V4, 2)?;
    cluster.serve_http(2)?;
    let (client, vip) = (&cluster.net.client, cluster.family.vip());
    load::curl(client, vip, 80, 2)?;
    // The director has port 1.
    cluster.net.server_network.connect(2, false)?;
    assert!(
        load::curl(client, vip, 80, 2).is_err(),
        "one of two connections goes to the server that is gone"
    );

    cluster.ipvsadm(&format!("-d -t {} -r {}", cluster.service(80), cluster.server(1, 80)))?;
    assert_eq!(load::curl(client, vip, 80, 4)?, Shares::from([("rs2".into(), 4)]));
    let report = Wrk::start(client, vip, 80, Connections::New, 1)?.finish()?;
    assert_eq!(report.failed, 0, "{report:?}");

    // It comes back as if new.
    cluster.net.server_network.connect(2, true)?;
    cluster.ipvsadm(&format!("-a -t {} -r {} -m", cluster.service(80), cluster.server(1, 80)))?;
    let halves = Shares::from(["rs1", "rs2"].map(|name| (name.into(), 2)));
    assert_eq!(load::curl(client, vip, 80, 4)?, halves);
    Ok(())
}

/// A deleted service is nobody's: the kernel refuses the connection.
#[test]
#[ignore = "needs root"]
fn a_deleted_service_is_refused() -> Result<()> {
    let mut cluster = Cluster::start(Method::Nat, Family::V4, 1)?;
    cluster.serve_http(1)?;
    let (client, vip) = (&cluster.net.client, cluster.family.vip());
    load::curl(client, vip, 80, 1)?;
    cluster.ipvsadm(&format!("-D -t {}", cluster.service(80)))?;
    let error = format!("{:#}", load::curl(client, vip, 80, 1).unwrap_err());
    assert!(error.contains("refused") || error.contains("connect"), "{error}");
    assert!(!cluster.listing()?.contains(&cluster.service(80)));
    Ok(())
}

/// Waits until each of the first `servers` real servers has had a connection.
fn wait_for_connections(cluster: &Cluster, servers: u8) -> Result<()> {
    wait::until(Duration::from_secs(10), || {
        for number in 1..=servers {
            let (active, inactive) = cluster.connections(number, 80)?;
            if active + inactive == 0 {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
}
