//! Connections that outlive their director: another one has heard of them.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rlvs_testbed::{Download, Family, Method, Namespace, Pair, Side, rlvs, wait};

const LIMIT: Duration = Duration::from_secs(30);
const PORT: u16 = 9000;

/// The service, and what the directors share.
fn file(pair: &Pair, side: Side) -> String {
    let by = if pair.net.method() == Method::Nat { "nat" } else { "direct" };
    let service = format!(
        "[[service]]\ntcp = \"192.168.0.1:{PORT}\"\nscheduler = \"rr\"\nforward = \"{by}\"\n\
         server = [{{ address = \"172.16.0.1\" }}, {{ address = \"172.16.0.2\" }}]\n"
    );
    service + &pair.routers(side, Duration::from_millis(200), true)
}

fn connections(host: &Namespace) -> Result<Vec<String>> {
    let listing = rlvs(host, "ipvsadm -L -n -c")?;
    Ok(listing.lines().filter(|line| line.contains("ESTABLISHED")).map(str::to_owned).collect())
}

/// Waits until the backup knows all that the master does.
fn wait_for_sync(host: &Namespace) -> Result<()> {
    wait::until_ok(LIMIT, || {
        let figures = rlvs(host, "sync")?;
        ensure!(figures.contains("backup in sync: yes"), "{figures}");
        ensure!(figures.contains("backup messages lost: 0\n"), "{figures}");
        Ok(())
    })
}

/// A download that began before the standby was told goes on, there and back again.
fn goes_on_through_the_other(method: Method, options: &str, ports: u32) -> Result<()> {
    let mut pair = Pair::start(method, 2)?;
    let start = |side| {
        rlvs(pair.host(side), &format!("sysctl -w sync_ports={ports}"))?;
        pair.cluster(side, &file(&pair, side))
    };
    let _clusters = [start(Side::First)?, start(Side::Second)?];
    pair.wait_for_master(Side::First)?;
    let listen = |number: u8| {
        let address = SocketAddr::new(pair.net.listen_address(Family::V4, number), PORT);
        pair.net.servers[usize::from(number) - 1].run(move || Ok(TcpListener::bind(address)?))
    };
    // The second one was added last, so it is the first in turn.
    let (first, second) = (listen(1)?, listen(2)?);
    let vip = SocketAddr::new(Family::V4.vip(), PORT);
    let early = Download::start(second, &pair.net.client, vip)?;
    early.goes_on(1)?;
    pair.start_daemons(options)?;
    let late = Download::start(first, &pair.net.client, vip)?;
    late.goes_on(1)?;
    wait::until_ok(LIMIT, || {
        let known = connections(&pair.standby)?;
        ensure!(known.len() == 2, "{known:?}");
        Ok(())
    })?;

    wait_for_sync(&pair.standby)?;
    // The next director runs the daemons that it finds.
    pair.crash_director(Side::Second)?;
    pair.start_director(Side::Second)?;
    wait_for_sync(&pair.standby)?;

    pair.power(Side::First, false)?;
    pair.wait_for_master(Side::Second)?;
    for download in [&early, &late] {
        download.goes_on(20).context("through the other director")?;
    }
    pair.power(Side::First, true)?;
    pair.wait_for_master(Side::First)?;
    for download in [&early, &late] {
        download.goes_on(20).context("through the first one again")?;
    }
    early.finish()?;
    late.finish()
}

#[test]
#[ignore = "needs root"]
fn downloads_go_on_with_nat() -> Result<()> {
    goes_on_through_the_other(Method::Nat, "", 1)
}

#[test]
#[ignore = "needs root"]
fn downloads_go_on_with_direct_routing_told_by_ipv6_on_two_ports() -> Result<()> {
    goes_on_through_the_other(Method::Dr, "--mcast-group ff02::81", 2)
}
