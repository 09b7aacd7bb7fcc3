//! The kernel's IPVS and rlvs stand in for each other, with the synchronisation protocol between them. This runs where the kernel has IPVS.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rlvs_testbed::{Download, Family, Method, Pair, Side, rlvs, wait};

/// Who was away hears of connections within a minute; and the machine may be an emulated one.
const LIMIT: Duration = Duration::from_secs(200);
const INTERVAL: Duration = Duration::from_secs(1);
const PORT: u16 = 9000;

/// Takes connections over in both directions, by both versions of the protocol.
pub fn run() -> Result<()> {
    let modules = Command::new("modprobe").args(["-a", "ip_vs", "ip_vs_rr", "veth", "bridge"]).status();
    ensure!(
        modules.context("cannot run modprobe")?.success(),
        "this kernel has no IPVS: run this in a guest that has"
    );
    let pair = Pair::beside_the_kernel(Method::Nat, 1)?;
    println!("rlvs is ready");
    pair.start_daemons("")?;
    let start = |side| pair.cluster(side, &file(&pair, side));
    let _clusters = [start(Side::First)?, start(Side::Second)?];
    for version in [1, 0] {
        pair.wait_for_master(Side::First)?;
        pair.host(Side::First).sysctl(&format!("net.ipv4.vs.sync_version={version}"))?;
        rlvs(pair.host(Side::Second), &format!("sysctl -w sync_version={version}"))?;
        there_and_back(&pair).with_context(|| format!("version {version}"))?;
        println!(
            "version {version}: connections of the kernel's IPVS went on through rlvs, and both's through the kernel's"
        );
    }
    print!("{}", rlvs(pair.host(Side::Second), "sync")?);
    Ok(())
}

/// A connection that began at the kernel's IPVS goes on through rlvs; then both, with one that began there, through the kernel's.
fn there_and_back(pair: &Pair) -> Result<()> {
    let server = SocketAddr::new(Family::V4.server(1), PORT);
    let listener = pair.net.servers[0].run(move || Ok(TcpListener::bind(server)?))?;
    let vip = SocketAddr::new(Family::V4.vip(), PORT);
    let begin = || Download::start(listener.try_clone()?, &pair.net.client, vip);
    let first = begin()?;
    first.goes_on(1)?;
    knows(pair, Side::Second, 1)?;

    pair.power(Side::First, false)?;
    pair.wait_for_master(Side::Second)?;
    first.goes_on(20).context("through rlvs")?;
    let second = begin()?;
    pair.power(Side::First, true)?;
    knows(pair, Side::First, 2)?;

    pair.power(Side::Second, false)?;
    pair.wait_for_master(Side::First)?;
    for download in [&first, &second] {
        download.goes_on(20).context("through the kernel's IPVS")?;
    }
    pair.power(Side::Second, true)?;
    first.finish()?;
    second.finish()
}

/// Waits until this director has heard of so many connections that go on.
fn knows(pair: &Pair, side: Side, connections: usize) -> Result<()> {
    wait::until_ok(LIMIT, || {
        let listing = rlvs(pair.host(side), "ipvsadm -L -n -c")?;
        ensure!(listing.matches("ESTABLISHED").count() >= connections, "{side:?}: {listing}");
        Ok(())
    })
}

fn file(pair: &Pair, side: Side) -> String {
    let service = format!(
        "[[service]]\ntcp = \"192.168.0.1:{PORT}\"\nscheduler = \"rr\"\nforward = \"nat\"\n\
         server = [{{ address = \"172.16.0.1\" }}]\n"
    );
    service + &pair.routers(side, INTERVAL, false)
}
