//! A cluster by a file: real servers that fail are taken out, and come back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rlvs_testbed::load::{self, Shares};
use rlvs_testbed::{Cluster, Family, Method, binary, real_server, rlvs, wait};
use rustix::process::Signal;

const FILE: &str = "/run/rlvs-cluster.toml";
const LIMIT: Duration = Duration::from_secs(30);

#[test]
#[ignore = "needs root"]
fn a_real_server_that_fails_is_out_until_it_is_back() -> Result<()> {
    let cluster = Cluster::start(Method::Nat, Family::V4, 2)?;
    let director = &cluster.net.director;
    let nginx = |number: u8| {
        let address = cluster.net.listen_address(cluster.family, number);
        real_server::nginx(&cluster.net.servers[usize::from(number) - 1], address, 80, &format!("rs{number}"))
    };
    let (first, _second) = (nginx(1)?, nginx(2)?);
    let [one, two] = [1, 2].map(|number| cluster.server(number, 80));
    let file = format!(
        "[[service]]\ntcp = \"{}\"\nscheduler = \"rr\"\n\
         check = {{ type = \"http\", body = \"rs\", interval = \"200ms\" }}\n\
         server = [{{ address = \"{one}\" }}, {{ address = \"{two}\" }}]\n",
        cluster.service(80)
    );
    director.write(FILE, &file)?;
    ensure!(rlvs(director, &format!("check {FILE}"))?.contains("1 services, 2 real servers"));
    ensure!(rlvs(director, &format!("diff {FILE}")).is_err(), "there are differences, so its status is 1");
    let mut nanny = director.spawn(&[&binary()?, "cluster", FILE])?;
    nanny.wait_for("ready", LIMIT)?;
    let served_by = |expected: &[(&str, u32)]| {
        let expected: Shares = expected.iter().map(|(name, share)| ((*name).into(), *share)).collect();
        wait::until_ok(LIMIT, || {
            let shares = load::curl(&cluster.net.client, cluster.family.vip(), 80, 4)?;
            ensure!(shares == expected, "{shares:?}");
            Ok(())
        })
    };
    served_by(&[("rs1", 2), ("rs2", 2)])?;
    ensure!(rlvs(director, &format!("diff {FILE}"))?.is_empty());

    drop(first);
    served_by(&[("rs2", 4)])?;
    ensure!(!cluster.listing()?.contains(&one), "{}", cluster.listing()?);
    let _first = nginx(1)?;
    served_by(&[("rs1", 2), ("rs2", 2)])?;

    // A file with a mistake changes nothing, a good one only what is different in it.
    director.write(FILE, "zork = 1")?;
    nanny.signal(Signal::HUP)?;
    nanny.wait_for("unknown key `zork`", LIMIT)?;
    director.write(FILE, &file.replace(&format!("\"{two}\""), &format!("\"{two}\", weight = 0")))?;
    nanny.signal(Signal::HUP)?;
    served_by(&[("rs1", 4)])?;

    // What it leaves goes on.
    nanny.signal(Signal::TERM)?;
    ensure!(nanny.wait(LIMIT)?.success(), "{}", nanny.stderr());
    served_by(&[("rs1", 4)]).context("after its end")
}
