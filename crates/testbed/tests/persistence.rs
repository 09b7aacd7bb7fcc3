//! Clients that stay with their server, and datagrams that do not.

use anyhow::Result;
use rlvs_testbed::load::{self, Shares};
use rlvs_testbed::{Cluster, Family, Method};

/// A persistent service sends all connections of a client to one server, by any method, and shows the template.
#[test]
#[ignore = "needs root"]
fn a_persistent_client_stays_with_its_server() -> Result<()> {
    for (method, family) in [(Method::Nat, Family::V4), (Method::Dr, Family::V6), (Method::Tun, Family::V4)] {
        let mut cluster = Cluster::start(method, family, 2)?;
        cluster.serve_http(2)?;
        let (client, vip, service) = (&cluster.net.client, family.vip(), cluster.service(80));
        cluster.ipvsadm(&format!("-E -t {service} -s rr -p 300"))?;
        let answers = load::curl(client, vip, 80, 6)?;
        assert_eq!(answers.values().copied().collect::<Vec<_>>(), [6], "{method:?}: {answers:?}");

        let listing = cluster.ipvsadm("-L -n --persistent-conn")?;
        let templates: u32 =
            listing.lines().filter(|line| line.contains("->")).filter_map(persistent_connections).sum();
        assert_eq!(templates, 1, "{listing}");
        let connections = cluster.ipvsadm("-L -n -c")?;
        let template = connections.lines().find(|line| line.contains(" ASSURED "));
        assert!(template.is_some_and(|line| line.contains(":0 ")), "{connections}");
        let saved = cluster.ipvsadm("-S -n")?;
        assert!(saved.contains("-s rr -p 300"), "{saved}");

        // Without persistence the next connections are shared again.
        cluster.ipvsadm(&format!("-E -t {service} -s rr"))?;
        let answers = load::curl(client, vip, 80, 6)?;
        assert_eq!(answers, Shares::from([("rs1".into(), 3), ("rs2".into(), 3)]), "{method:?}");
    }
    Ok(())
}

/// The column "Weight PersistConn ActiveConn InActConn": the second number after the address.
fn persistent_connections(line: &str) -> Option<u32> {
    line.split_whitespace().nth(3)?.parse().ok()
}

/// With one-packet scheduling no connection is kept. (With direct routing, for a NATed answer would find no entry.)
#[test]
#[ignore = "needs root"]
fn datagrams_are_scheduled_one_by_one() -> Result<()> {
    let mut cluster = Cluster::start(Method::Dr, Family::V4, 2)?;
    cluster.serve_dns()?;
    let service = cluster.service(53);
    cluster.ipvsadm(&format!("-E -u {service} -s rr -o"))?;
    let answers = load::dig(&cluster.net.client, cluster.family.vip(), 6)?;
    assert_eq!(answers, Shares::from([("rs1".into(), 3), ("rs2".into(), 3)]));
    let connections = cluster.ipvsadm("-L -n -c")?;
    assert!(!connections.contains(&service), "{connections}");
    Ok(())
}
