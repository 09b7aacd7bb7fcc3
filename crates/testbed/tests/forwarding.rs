//! Every forwarding method forwards both families, TCP and UDP, to programs of the field.

use anyhow::{Context, Result};
use rlvs_testbed::load::{self, Connections, Shares, Wrk};
use rlvs_testbed::{Cluster, Family, Method};

#[test]
#[ignore = "needs root"]
fn nat_ipv4() -> Result<()> {
    answers_are_shared(Method::Nat, Family::V4)
}

#[test]
#[ignore = "needs root"]
fn nat_ipv6() -> Result<()> {
    answers_are_shared(Method::Nat, Family::V6)
}

#[test]
#[ignore = "needs root"]
fn direct_routing_ipv4() -> Result<()> {
    answers_are_shared(Method::Dr, Family::V4)
}

#[test]
#[ignore = "needs root"]
fn direct_routing_ipv6() -> Result<()> {
    answers_are_shared(Method::Dr, Family::V6)
}

#[test]
#[ignore = "needs root"]
fn tunnelling_ipv4() -> Result<()> {
    answers_are_shared(Method::Tun, Family::V4)
}

#[test]
#[ignore = "needs root"]
fn tunnelling_ipv6() -> Result<()> {
    answers_are_shared(Method::Tun, Family::V6)
}

#[test]
#[ignore = "needs root"]
fn tunnelling_by_gue() -> Result<()> {
    Family::ALL.into_iter().try_for_each(|family| answers_are_shared(Method::Gue, family))
}

#[test]
#[ignore = "needs root"]
fn tunnelling_by_gre() -> Result<()> {
    Family::ALL.into_iter().try_for_each(|family| answers_are_shared(Method::Gre, family))
}

/// Round robin gives each of two servers every other connection, over TCP and over UDP, and the listings say so.
fn answers_are_shared(method: Method, family: Family) -> Result<()> {
    let mut cluster = Cluster::start(method, family, 2)?;
    cluster.serve_http(2)?;
    cluster.serve_dns()?;
    let (client, vip) = (&cluster.net.client, family.vip());
    let halves = Shares::from([("rs1".into(), 4), ("rs2".into(), 4)]);

    assert_eq!(load::curl(client, vip, 80, 8)?, halves, "{}", cluster.listing()?);
    assert_eq!(load::dig(client, vip, 8)?, halves, "{}", cluster.listing()?);
    for connections in [Connections::Kept, Connections::New] {
        let report = Wrk::start(client, vip, 80, connections, 2)?.finish()?;
        assert_eq!(report.failed, 0, "{connections:?}: {report:?}");
        assert!(report.requests > 10, "{connections:?}: {report:?}");
    }

    let listing = cluster.listing()?;
    let how = match method {
        Method::Nat => "Masq",
        Method::Dr => "Route",
        Method::Tun | Method::Gue | Method::Gre => "Tunnel",
    };
    for number in 1..=2 {
        let line = listing.lines().find(|line| line.contains(&cluster.server(number, 80)));
        let line = line.with_context(|| format!("server {number} is not listed: {listing}"))?;
        assert!(line.contains(how), "{listing}");
    }
    let connections = cluster.ipvsadm("-L -n -c")?;
    assert!(connections.contains(&cluster.service(80)), "{connections}");
    assert!(connections.contains(&cluster.service(53)), "{connections}");
    Ok(())
}

/// Bulk data in both directions: full-sized segments and acknowledgements.
#[test]
#[ignore = "needs root"]
fn bulk_data_through_nat() -> Result<()> {
    for family in Family::ALL {
        let mut cluster = Cluster::start(Method::Nat, family, 1)?;
        cluster.serve_iperf3()?;
        for reverse in [false, true] {
            let rate = load::iperf3(&cluster.net.client, family.vip(), 5201, 2, reverse)?;
            assert!(rate > 1e6, "as good as nothing: {family:?}, reverse {reverse}: {rate} bit/s");
        }
    }
    Ok(())
}
