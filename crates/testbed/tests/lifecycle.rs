//! The data plane outlives the director's process: it is stopped, killed and started under load.

use std::time::Duration;

use anyhow::{Context, Result};
use rlvs_testbed::load::{self, Connections, Shares, Wrk};
use rlvs_testbed::{Cluster, Family, Method, Namespace, Topology, rlvs, wait};

/// Killed under load, the director costs no request; connections are made while it is down; the next process takes
/// over what it finds.
#[test]
#[ignore = "needs root"]
fn a_crash_costs_no_request_with_nat() -> Result<()> {
    crash_under_load(Method::Nat)
}

#[test]
#[ignore = "needs root"]
fn a_crash_costs_no_request_with_direct_routing() -> Result<()> {
    crash_under_load(Method::Dr)
}

#[test]
#[ignore = "needs root"]
fn a_crash_costs_no_request_with_tunnelling() -> Result<()> {
    crash_under_load(Method::Tun)
}

fn crash_under_load(method: Method) -> Result<()> {
    let mut cluster = Cluster::start(method, Family::V4, 2)?;
    cluster.serve_http(2)?;
    let vip = cluster.family.vip();
    let halves = Shares::from([("rs1".into(), 3), ("rs2".into(), 3)]);
    assert_eq!(load::curl(&cluster.net.client, vip, 80, 6)?, halves);
    let before = services(&cluster)?;

    let start = |connections| Wrk::start(&cluster.net.client, vip, 80, connections, 60);
    let runs = [start(Connections::Kept)?, start(Connections::New)?];
    wait::until(Duration::from_secs(20), || {
        let (one, two) = (cluster.connections(1, 80)?, cluster.connections(2, 80)?);
        Ok((one.0 + two.0 >= 16).then_some(()))
    })?;
    cluster.crash_director()?;
    // wrk's connections take turns in between, so these may all fall to one server: only that each is answered is
    // certain (and `curl` fails at the first that is not).
    let answers = load::curl(&cluster.net.client, vip, 80, 10)?;
    assert_eq!(answers.values().sum::<u32>(), 10, "while the director is down: {answers:?}");
    cluster.start_director()?;
    for run in runs {
        let report = run.stop()?;
        assert!(report.failed == 0 && report.requests > 10, "{method:?}: {report:?}");
    }

    assert_eq!(services(&cluster)?, before, "the next director has adopted the services");
    assert_eq!(load::curl(&cluster.net.client, vip, 80, 6)?, halves);
    // Adopted, and not only shown: a change takes effect.
    cluster.ipvsadm(&format!("-d -t {} -r {}", cluster.service(80), cluster.server(1, 80)))?;
    assert_eq!(load::curl(&cluster.net.client, vip, 80, 3)?, Shares::from([("rs2".into(), 3)]));
    Ok(())
}

/// An orderly stop leaves the data plane, too; `rlvs detach` takes it away, and leaves nothing.
#[test]
#[ignore = "needs root"]
fn stop_leaves_the_data_plane_and_detach_takes_it_away() -> Result<()> {
    let mut cluster = Cluster::start(Method::Nat, Family::V4, 2)?;
    cluster.serve_http(2)?;
    let vip = cluster.family.vip();
    let halves = Shares::from([("rs1".into(), 2), ("rs2".into(), 2)]);
    assert_eq!(load::curl(&cluster.net.client, vip, 80, 4)?, halves);
    cluster.stop_director()?;
    let host = &cluster.net.director;
    let links = |host: &Namespace| host.output(&["ip", "-details", "link"]);
    assert!(links(host)?.contains("xdp"), "{}", links(host)?);
    assert_eq!(load::curl(&cluster.net.client, vip, 80, 4)?, halves);

    rlvs(host, "detach")?;
    assert!(!links(host)?.contains("xdp"), "{}", links(host)?);
    // The kernel itself puts two files into every bpffs.
    let pins = host.output(&["find", "/sys/fs/bpf", "-type", "f", "!", "-name", "*.debug"])?;
    assert_eq!(pins, "");
    assert!(load::curl(&cluster.net.client, vip, 80, 1).is_err());
    // Nothing to do is no error: scripts call it more than once.
    rlvs(host, "detach")?;

    cluster.start_director()?;
    assert!(!services(&cluster)?.contains(&cluster.service(80)), "a detached data plane has no past");
    Ok(())
}

/// There is one owner of the data plane; a second one is told so, and harms nothing.
#[test]
#[ignore = "needs root"]
fn a_second_director_is_refused() -> Result<()> {
    let mut cluster = Cluster::start(Method::Nat, Family::V4, 2)?;
    cluster.serve_http(2)?;
    let error = rlvs(&cluster.net.director, "run --interface wan --interface lan").unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("already") && !error.contains("still not"), "{error}");
    let halves = Shares::from([("rs1".into(), 2), ("rs2".into(), 2)]);
    assert_eq!(load::curl(&cluster.net.client, cluster.family.vip(), 80, 4)?, halves);
    Ok(())
}

/// On veth interfaces whose other ends nobody prepared for native XDP the director works all the same.
#[test]
#[ignore = "needs root"]
fn veth_as_the_kernel_makes_it() -> Result<()> {
    for method in [Method::Nat, Method::Tun] {
        let net = Topology::new(method, 2)?;
        net.client_network.leave_as_made()?;
        net.server_network.leave_as_made()?;
        for (host, interface) in [(&net.client, "eth0"), (&net.servers[0], "lan"), (&net.servers[1], "lan")] {
            host.output(&["ethtool", "-K", interface, "tx", "on"])?;
        }
        let mut cluster = Cluster::start_on(net, Family::V4)?;
        cluster.serve_http(2)?;
        let halves = Shares::from([("rs1".into(), 2), ("rs2".into(), 2)]);
        assert_eq!(
            load::curl(&cluster.net.client, Family::V4.vip(), 80, 4).context(format!("{method:?}"))?,
            halves
        );
        let links = cluster.net.director.output(&["ip", "-details", "link"])?;
        assert!(links.contains("xdpgeneric"), "{links}");
    }
    Ok(())
}

/// Services and destinations as commands that would make them.
fn services(cluster: &Cluster) -> Result<String> {
    cluster.ipvsadm("-S -n")
}
