//! Two directors by one file: a real server that fails is taken out, a director that fails is stood in for.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rlvs_testbed::load::{self, Shares};
use rlvs_testbed::{FILE, Family, Method, Pair, Process, Side, real_server, rlvs, wait};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(30);

fn nginx(pair: &Pair, number: u8) -> Result<Process> {
    let host = &pair.net.servers[usize::from(number) - 1];
    real_server::nginx(host, Family::V4.server(number), 80, &format!("rs{number}"))
}

/// Waits until four requests are answered by these.
fn served_by(pair: &Pair, expected: &[(&str, u32)]) -> Result<()> {
    let expected: Shares = expected.iter().map(|(name, share)| ((*name).into(), *share)).collect();
    wait::until_ok(LIMIT, || {
        let shares = load::curl(&pair.net.client, Family::V4.vip(), 80, 4)?;
        ensure!(shares == expected, "{shares:?}");
        Ok(())
    })
}

fn file(pair: &Pair, side: Side, second_weight: u8) -> String {
    let service = format!(
        "[[service]]\ntcp = \"192.168.0.1:80\"\nscheduler = \"rr\"\n\
         check = {{ type = \"http\", body = \"rs\", interval = \"200ms\" }}\n\
         server = [{{ address = \"172.16.0.1\" }}, {{ address = \"172.16.0.2\", weight = {second_weight} }}]\n"
    );
    service + &pair.routers(side, Duration::from_millis(200), true)
}

#[test]
#[ignore = "needs root"]
fn servers_and_directors_fail_and_come_back() -> Result<()> {
    let pair = Pair::start(Method::Nat, 2)?;
    let director = pair.host(Side::First);
    let (first, _second) = (nginx(&pair, 1)?, nginx(&pair, 2)?);
    director.write(FILE, &file(&pair, Side::First, 1))?;
    ensure!(rlvs(director, &format!("check {FILE}"))?.contains("services: 1, real servers: 2"));
    ensure!(rlvs(director, &format!("diff {FILE}")).is_err(), "there are differences, so its status is 1");
    let mut active = pair.cluster(Side::First, &file(&pair, Side::First, 1))?;
    let _standby = pair.cluster(Side::Second, &file(&pair, Side::Second, 1))?;
    pair.wait_for_master(Side::First)?;
    served_by(&pair, &[("rs1", 2), ("rs2", 2)])?;
    ensure!(rlvs(director, &format!("diff {FILE}"))?.is_empty());

    drop(first);
    served_by(&pair, &[("rs2", 4)])?;
    let listing = rlvs(director, "ipvsadm -L -n")?;
    ensure!(!listing.contains("172.16.0.1:80") && listing.contains("172.16.0.2:80"), "{listing}");
    let _first = nginx(&pair, 1)?;
    served_by(&pair, &[("rs1", 2), ("rs2", 2)])?;

    // The cable to the clients: the other side's address goes, too.
    pair.net.client_network.connect(2, false)?;
    pair.wait_for_master(Side::Second)?;
    served_by(&pair, &[("rs1", 2), ("rs2", 2)])?;
    pair.net.client_network.connect(2, true)?;
    pair.wait_for_master(Side::First)?;
    served_by(&pair, &[("rs1", 2), ("rs2", 2)])?;

    // A file with a mistake changes nothing, a good one only what is different in it.
    director.write(FILE, "zork = 1")?;
    active.signal(Signal::HUP)?;
    active.wait_for("unknown key `zork`", LIMIT)?;
    director.write(FILE, &file(&pair, Side::First, 0))?;
    active.signal(Signal::HUP)?;
    served_by(&pair, &[("rs1", 4)])?;
    pair.wait_for_master(Side::First)?;

    // It is killed, and cleans up after itself when it starts again.
    active.signal(Signal::KILL)?;
    active.wait(LIMIT)?;
    wait::until(LIMIT, || {
        let addresses = pair.standby.output(&["ip", "-brief", "address", "show"])?;
        Ok(pair.shared().iter().all(|shared| addresses.contains(&format!(" {shared}/"))).then_some(()))
    })?;
    let mut active = pair.cluster(Side::First, &file(&pair, Side::First, 1))?;
    pair.wait_for_master(Side::First)?;
    served_by(&pair, &[("rs1", 2), ("rs2", 2)])?;

    // It ends; its services stay, its addresses do not.
    active.signal(Signal::TERM)?;
    ensure!(active.wait(LIMIT)?.success(), "{}", active.stderr());
    pair.wait_for_master(Side::Second)?;
    served_by(&pair, &[("rs1", 2), ("rs2", 2)]).context("after its end")?;
    ensure!(rlvs(director, "ipvsadm -L -n")?.contains("172.16.0.2:80"));
    Ok(())
}
